/**
 * btrfs quotas: groups of subvolumes (qgroups), their counts of data, and their limits.
 *
 * Every subvolume has the group `0/<its id>` while quotas are on. Full qgroups count all data that
 * a subvolume refers to, inherited or not; simple quotas (Linux 6.7) count data written to it since
 * they were turned on. Everything is read from the quota tree, as of the last commit.
 *
 * @module
 */
import { BTRFS_IOCTL_MAGIC } from "./btrfs_subvolume.ts";
import { BTRFS_QUOTA_TREE_OBJECTID, itemStruct, searchTree } from "./btrfs_search.ts";
import { EINPROGRESS } from "./errno.ts";
import { ioctl, ior, iow, iowr, tryIoctl } from "./ioctl.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `struct btrfs_ioctl_quota_ctl_args`. */
export const QUOTA_CTL_ARGS = layout("struct btrfs_ioctl_quota_ctl_args", 16, {
  cmd: ["u64", 0],
  status: ["u64", 8],
});

/** `struct btrfs_ioctl_qgroup_create_args`. */
export const QGROUP_CREATE_ARGS = layout("struct btrfs_ioctl_qgroup_create_args", 16, {
  create: ["u64", 0],
  qgroupid: ["u64", 8],
});

/** `struct btrfs_ioctl_qgroup_limit_args`. */
export const QGROUP_LIMIT_ARGS = layout("struct btrfs_ioctl_qgroup_limit_args", 48, {
  qgroupid: ["u64", 0],
  "lim.flags": ["u64", 8],
  "lim.max_rfer": ["u64", 16],
  "lim.max_excl": ["u64", 24],
});

/** `struct btrfs_ioctl_quota_rescan_args`. */
export const QUOTA_RESCAN_ARGS = layout("struct btrfs_ioctl_quota_rescan_args", 64, {
  flags: ["u64", 0],
  progress: ["u64", 8],
});

export const BTRFS_IOC_QUOTA_CTL = iowr(BTRFS_IOCTL_MAGIC, 40, QUOTA_CTL_ARGS.size);
export const BTRFS_IOC_QGROUP_CREATE = iow(BTRFS_IOCTL_MAGIC, 42, QGROUP_CREATE_ARGS.size);
export const BTRFS_IOC_QGROUP_LIMIT = ior(BTRFS_IOCTL_MAGIC, 43, QGROUP_LIMIT_ARGS.size);
export const BTRFS_IOC_QUOTA_RESCAN = iow(BTRFS_IOCTL_MAGIC, 44, QUOTA_RESCAN_ARGS.size);
export const BTRFS_IOC_QUOTA_RESCAN_STATUS = ior(BTRFS_IOCTL_MAGIC, 45, QUOTA_RESCAN_ARGS.size);

// `linux/btrfs.h`.
export const BTRFS_QUOTA_CTL_ENABLE = 1;
export const BTRFS_QUOTA_CTL_DISABLE = 2;
export const BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA = 4;
export const BTRFS_QGROUP_LIMIT_MAX_RFER = 1n;
// `linux/btrfs_tree.h`.
export const BTRFS_QGROUP_STATUS_KEY = 240;
export const BTRFS_QGROUP_INFO_KEY = 242;
export const BTRFS_QGROUP_LIMIT_KEY = 244;
export const BTRFS_QGROUP_STATUS_FLAG_ON = 1n;
export const BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT = 4n;
export const BTRFS_QGROUP_STATUS_FLAG_SIMPLE_MODE = 8n;

/** How a file system counts. */
export type QuotaMode = "off" | "qgroup" | "simple";

/** The result of {@linkcode quotaStatus}. */
export interface QuotaStatus {
  readonly mode: QuotaMode;
  /** The counts are wrong until a rescan. */
  readonly inconsistent: boolean;
}

/** `struct btrfs_qgroup_status_item`, packed, as all kernels write it; newer ones append to it. */
export const QGROUP_STATUS_ITEM = layout("struct btrfs_qgroup_status_item", 32, {
  version: ["u64", 0],
  generation: ["u64", 8],
  flags: ["u64", 16],
  rescan: ["u64", 24],
});

/** Whether the file system of `fd` counts, and how. */
export function quotaStatus(fd: number): QuotaStatus {
  for (const item of quotaItems(fd, BTRFS_QGROUP_STATUS_KEY, 0n)) {
    const flags = itemStruct(QGROUP_STATUS_ITEM, item).big("flags");
    if ((flags & BTRFS_QGROUP_STATUS_FLAG_ON) === 0n) break;
    return {
      mode: (flags & BTRFS_QGROUP_STATUS_FLAG_SIMPLE_MODE) === 0n ? "qgroup" : "simple",
      inconsistent: (flags & BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT) !== 0n,
    };
  }
  return { mode: "off", inconsistent: false };
}

function quotaItems(fd: number, type: number, offset?: bigint) {
  return searchTree(fd, {
    tree: BTRFS_QUOTA_TREE_OBJECTID,
    objectId: 0n,
    types: [type, type],
    offset,
  });
}

/**
 * Turns quotas on; full ones begin to count the existing data, in the background. Raw: 0 or
 * `-errno`.
 */
export function tryEnableQuota(fd: number, mode: "qgroup" | "simple"): number {
  const cmd = mode === "simple" ? BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA : BTRFS_QUOTA_CTL_ENABLE;
  return tryIoctl(fd, BTRFS_IOC_QUOTA_CTL, new Struct(QUOTA_CTL_ARGS).set("cmd", cmd).bytes);
}

/** Turns quotas off: every group and every limit of the file system is forgotten. */
export function disableQuota(fd: number, path?: string): void {
  const args = new Struct(QUOTA_CTL_ARGS).set("cmd", BTRFS_QUOTA_CTL_DISABLE);
  ioctl(fd, BTRFS_IOC_QUOTA_CTL, args.bytes, "BTRFS_IOC_QUOTA_CTL", path);
}

/**
 * Limits the data that the subvolume of an open file refers to, in bytes. Raw: ENOTCONN if quotas
 * are off.
 */
export function tryLimitReferenced(subvolume: number, bytes: number | bigint): number {
  const args = new Struct(QGROUP_LIMIT_ARGS)
    .set("lim.flags", BTRFS_QGROUP_LIMIT_MAX_RFER)
    .set("lim.max_rfer", bytes);
  return tryIoctl(subvolume, BTRFS_IOC_QGROUP_LIMIT, args.bytes);
}

/** `CLEAR_VALUE` of the kernel's `qgroup.c`: takes a limit away. */
const CLEAR_VALUE = 0xffff_ffff_ffff_ffffn;

/** Takes that limit away. Raw: ENOTCONN if quotas are off. */
export function tryUnlimitReferenced(subvolume: number): number {
  return tryLimitReferenced(subvolume, CLEAR_VALUE);
}

/**
 * Removes a qgroup. Raw: EBUSY until its subvolume is removed and freed by the kernel; ENOENT if it
 * does not exist; ENOTCONN if quotas are off.
 */
export function tryRemoveQgroup(fd: number, id: bigint): number {
  return tryIoctl(
    fd,
    BTRFS_IOC_QGROUP_CREATE,
    new Struct(QGROUP_CREATE_ARGS).set("qgroupid", id).bytes,
  );
}

/** Starts a rescan of all counts, in the background. Does nothing if one is running. */
export function startRescan(fd: number, path?: string): void {
  const result = tryIoctl(fd, BTRFS_IOC_QUOTA_RESCAN, new Struct(QUOTA_RESCAN_ARGS).bytes);
  if (result !== -EINPROGRESS) unwrap(result, "ioctl BTRFS_IOC_QUOTA_RESCAN", path);
}

/** Whether a rescan is running. */
export function isRescanning(fd: number, path?: string): boolean {
  const args = new Struct(QUOTA_RESCAN_ARGS);
  ioctl(fd, BTRFS_IOC_QUOTA_RESCAN_STATUS, args.bytes, "BTRFS_IOC_QUOTA_RESCAN_STATUS", path);
  return args.big("flags") !== 0n;
}

/** `struct btrfs_qgroup_info_item`, packed. */
export const QGROUP_INFO_ITEM = layout("struct btrfs_qgroup_info_item", 40, {
  generation: ["u64", 0],
  rfer: ["u64", 8],
  rfer_cmpr: ["u64", 16],
  excl: ["u64", 24],
  excl_cmpr: ["u64", 32],
});

/** `struct btrfs_qgroup_limit_item`, packed. */
export const QGROUP_LIMIT_ITEM = layout("struct btrfs_qgroup_limit_item", 40, {
  flags: ["u64", 0],
  max_rfer: ["u64", 8],
  max_excl: ["u64", 16],
});

/** A qgroup's counts, in bytes. */
export interface QgroupUsage {
  readonly referenced: number;
  /** Of these, the bytes that no other subvolume refers to. */
  readonly exclusive: number;
  readonly maxReferenced: number | undefined;
}

/** The counts of a qgroup; `undefined` if it does not exist. */
export function qgroupUsage(fd: number, id: bigint): QgroupUsage | undefined {
  let maxReferenced: number | undefined;
  for (const item of quotaItems(fd, BTRFS_QGROUP_LIMIT_KEY, id)) {
    const limit = itemStruct(QGROUP_LIMIT_ITEM, item);
    if ((limit.big("flags") & BTRFS_QGROUP_LIMIT_MAX_RFER) !== 0n) {
      maxReferenced = limit.get("max_rfer");
    }
  }
  for (const item of quotaItems(fd, BTRFS_QGROUP_INFO_KEY, id)) {
    const info = itemStruct(QGROUP_INFO_ITEM, item);
    return { referenced: info.get("rfer"), exclusive: info.get("excl"), maxReferenced };
  }
  return undefined;
}

/** The ids of all qgroups that have a limit of any kind. */
export function limitedQgroups(fd: number): bigint[] {
  const limited: bigint[] = [];
  for (const item of quotaItems(fd, BTRFS_QGROUP_LIMIT_KEY)) {
    if (itemStruct(QGROUP_LIMIT_ITEM, item).big("flags") !== 0n) limited.push(item.offset);
  }
  return limited;
}

/** The ids of all qgroups. */
export function qgroups(fd: number): bigint[] {
  return Array.from(quotaItems(fd, BTRFS_QGROUP_INFO_KEY), ({ offset }) => offset);
}
