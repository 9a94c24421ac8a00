/**
 * The driver's description of its file system and of its layers.
 *
 * @module
 */
import { qgroupUsage, quotaStatus } from "../../ffi/btrfs_quota.ts";
import { subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { features, spaceUsage, volumeInfo } from "../../ffi/btrfs_volume.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import { formatSize } from "../../lib/base/sizes.ts";

/** The lines of `status`, for the file system of an open file. */
export function statusLines(volume: number): StatusLine[] {
  const { uuid, devices, generation } = volumeInfo(volume);
  const { mode, inconsistent } = quotaStatus(volume);
  const { data, metadata } = spaceUsage(volume);
  const of = ({ used, total }: { used: number; total: number }) =>
    `${formatSize(used)} of ${formatSize(total)} set aside`;
  return [
    ["Backing Filesystem", "btrfs"],
    ["Filesystem UUID", formatUuid(uuid)],
    ["Devices", String(devices)],
    ["Features", features(volume).join(" ")],
    ["Generation", String(generation)],
    [
      "Quota",
      mode +
      (inconsistent
        ? " (inconsistent: limits and counts may be wrong until `btrfs quota rescan` has run)"
        : ""),
    ],
    ["Data Space Used", of(data)],
    ["Metadata Space Used", of(metadata)],
  ];
}

/**
 * The kernel's record of a layer.
 *
 * @param limit the size limit recorded for it
 */
export function layerMetadata(
  subvolume: number,
  path: string,
  limit: number | undefined,
): ReadonlyMap<string, string> {
  const info = subvolumeInfo(subvolume);
  const entries: [string, string][] = [
    ["Subvolume", path],
    ["SubvolumeId", String(info.id)],
    ["UUID", formatUuid(info.uuid)],
    ["Generation", String(info.generation)],
    ["ReadOnly", String(info.readOnly)],
  ];
  if (info.parentUuid) entries.splice(3, 0, ["ParentUUID", formatUuid(info.parentUuid)]);
  if (limit !== undefined) entries.push(["Size", String(limit)]);
  const usage = qgroupUsage(subvolume, info.id);
  if (usage !== undefined) {
    entries.push(["QgroupReferenced", String(usage.referenced)]);
    entries.push(["QgroupExclusive", String(usage.exclusive)]);
    if (usage.maxReferenced !== undefined) {
      entries.push(["QgroupMaxReferenced", String(usage.maxReferenced)]);
    }
  }
  return new Map(entries);
}

/** `8-4-4-4-12` of 32 digits. */
const formatUuid = (digits: string) =>
  digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
