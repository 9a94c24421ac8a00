/**
 * The space that a snapshot or layer adds to its parent, counted in a time that grows with the
 * changes.
 *
 * A committed parent never changes, and its children begin with the same tree. So a layer adds
 * those items of its tree that were written after the transaction that made the parent. The kernel
 * finds them without reading the rest (`ffi/btrfs_files.ts`); no directory is read. Counted are:
 *
 * - inodes that were made, or that differ in more than the time of the last access; all inodes of a
 *   layer without a parent, including its root;
 * - bytes of data that were written since, in their size on disk. Data that several files share is
 *   counted once. Data that the parent has as well is not counted, such as that of a copy that
 *   shares its source's data.
 *
 * Metadata is not counted, except for data stored in it. An active layer's bytes come from its
 * qgroup if full quotas are on: its exclusive bytes, including metadata. A committed layer shares
 * all its data with its children, and for a while with the active one from which it was made, so
 * its qgroup cannot be used.
 *
 * @module
 */
import { type DataRecord, differsFrom, fileRecords } from "../../ffi/btrfs_files.ts";
import { qgroupUsage, quotaStatus } from "../../ffi/btrfs_quota.ts";
import { type SubvolumeInfo, subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { commit } from "../../ffi/btrfs_volume.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";

/**
 * The usage of an open layer that no program writes to.
 *
 * @param parent `undefined` if the layer has no parent
 */
export function committedUsage(layer: number, parent: SubvolumeInfo | undefined): Usage {
  const since = parent === undefined ? 0n : parent.created + 1n;
  const data = new Data(since);
  let inodes = 0;
  for (const record of fileRecords(layer, since)) {
    if (record.type === "inode") {
      // The kernel returns all inodes of a changed part of the tree.
      if (record.changed < since) continue;
      if (record.made >= since || parent === undefined || differsFrom(layer, parent.id, record)) {
        inodes++;
      }
      continue;
    }
    data.add(record);
  }
  return { bytes: data.bytes, inodes };
}

/** The bytes of data that were written in a transaction or later, each counted once. */
class Data {
  bytes = 0;
  readonly #addresses = new Set<bigint>();

  constructor(readonly since: bigint) {}

  add({ written, stored, address }: DataRecord): void {
    if (written < this.since || address !== undefined && this.#addresses.has(address)) return;
    if (address !== undefined) this.#addresses.add(address);
    this.bytes += stored;
  }
}

/**
 * The usage of an open active layer. Its data is synced first, because until then overwritten files
 * are known only in the kernel's memory.
 */
export function activeUsage(layer: number, parent: SubvolumeInfo | undefined): Usage {
  commit(layer);
  const { id, changed, created } = subvolumeInfo(layer);
  if (parent !== undefined && changed <= created) return { bytes: 0, inodes: 0 };
  const counted = committedUsage(layer, parent);
  const exclusive = exclusiveBytes(layer, id);
  return exclusive === undefined ? counted : { bytes: exclusive, inodes: counted.inodes };
}

/**
 * The bytes that a graph layer adds to its parent. The parent was filled before the layer was made
 * as its snapshot, which ended a transaction: all data written later belongs to the layer.
 *
 * @param isLeaf whether the layer has no children. Children would share its data, so only a leaf's
 * qgroup can be used.
 */
export function layerUsage(layer: number, isLeaf: boolean): number {
  commit(layer);
  const { id, created, parentUuid } = subvolumeInfo(layer);
  const exclusive = isLeaf ? exclusiveBytes(layer, id) : undefined;
  if (exclusive !== undefined) return exclusive;
  const data = new Data(parentUuid ? created + 1n : 0n);
  for (const record of fileRecords(layer, data.since)) {
    if (record.type === "data") data.add(record);
  }
  return data.bytes;
}

/**
 * The exclusive bytes of this subvolume; `undefined` if the kernel does not count them, or if the
 * counts are inconsistent.
 */
function exclusiveBytes(fd: number, id: bigint): number | undefined {
  const { mode, inconsistent } = quotaStatus(fd);
  return mode === "qgroup" && !inconsistent ? qgroupUsage(fd, id)?.exclusive : undefined;
}
