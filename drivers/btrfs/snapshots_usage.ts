/**
 * What a snapshot adds to its parent, counted in the time that the change takes.
 *
 * A committed parent never changes, and what is built on it begins with its very tree. So what a
 * layer adds is what its tree recorded after the transaction that made the parent, and the kernel
 * finds that without reading the rest (`ffi/btrfs_files.ts`); no directory is read. Counted are:
 *
 * - inodes that were made, or that differ in more than the time of the last access; of a layer
 *   without parent all of them, its root included;
 * - bytes of data, as the disk has them, that were written since; once, however many files share
 *   them, and not if the parent had them already, as with a copy that shares its source's data.
 *
 * Metadata counts nowhere, but for data that lies in it. An active layer's bytes come from its
 * qgroup if full quotas are on: what nobody else has, with the metadata. A committed layer shares
 * all it has with those built on it, and for a while with the active one that it was made from, so
 * its qgroup says nothing of it.
 *
 * @module
 */
import { differsFrom, fileRecords } from "../../ffi/btrfs_files.ts";
import { qgroupUsage, quotaStatus } from "../../ffi/btrfs_quota.ts";
import { type SubvolumeInfo, subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { commit } from "../../ffi/btrfs_volume.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";

/**
 * What an open layer that nobody writes to adds.
 *
 * @param parent `undefined` if it has none
 */
export function committedUsage(layer: number, parent: SubvolumeInfo | undefined): Usage {
  const since = parent === undefined ? 0n : parent.created + 1n;
  const extents = new Set<bigint>();
  let bytes = 0, inodes = 0;
  for (const record of fileRecords(layer, since)) {
    if (record.type === "inode") {
      // Other inodes lie in the same part of the tree.
      if (record.changed < since) continue;
      if (record.made >= since || parent === undefined || differsFrom(layer, parent.id, record)) {
        inodes++;
      }
      continue;
    }
    const { written, stored, address } = record;
    if (written < since || address !== undefined && extents.has(address)) continue;
    if (address !== undefined) extents.add(address);
    bytes += stored;
  }
  return { bytes, inodes };
}

/**
 * What an open active layer adds. All that is written goes to disk first: before, nothing but the memory of
 * the kernel knows that a file was written over.
 */
export function activeUsage(layer: number, parent: SubvolumeInfo | undefined): Usage {
  commit(layer);
  const { id, changed, created } = subvolumeInfo(layer);
  if (parent !== undefined && changed <= created) return { bytes: 0, inodes: 0 };
  const counted = committedUsage(layer, parent);
  const exclusive = exclusiveBytes(layer, id);
  return exclusive === undefined ? counted : { bytes: exclusive, inodes: counted.inodes };
}

/** What only this subvolume has; `undefined` if the kernel does not count that, or not rightly. */
function exclusiveBytes(fd: number, id: bigint): number | undefined {
  const { mode, inconsistent } = quotaStatus(fd);
  return mode === "qgroup" && !inconsistent ? qgroupUsage(fd, id)?.exclusive : undefined;
}
