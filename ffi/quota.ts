/**
 * Project quotas: a project id on a directory tree, and limits on the space and the inodes of that
 * project.
 *
 * The id is an attribute of every inode; with `FS_XFLAG_PROJINHERIT` on a directory, new entries in
 * it inherit both. XFS keeps limits in its own structures (`Q_X…`), ext4 and others in the generic
 * ones. Here sizes are bytes and counts are inodes; the kernel's structures may have other units.
 *
 * @module
 */
import { cstring, type Path, pathText } from "./cstring.ts";
import {
  EACCES,
  EBADF,
  EINVAL,
  ENODEV,
  ENOENT,
  ENOSYS,
  ENOTTY,
  EOPNOTSUPP,
  EPERM,
  ESRCH,
  SyscallError,
} from "./errno.ts";
import { ioctl, ior, iow, tryIoctl } from "./ioctl.ts";
import { E, volumes } from "./libc.ts";
import { fstatfs, XFS_MAGIC } from "./statfs.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `struct fsxattr` of `linux/fs.h`. */
export const FSXATTR = layout("struct fsxattr", 28, {
  fsx_xflags: ["u32", 0],
  fsx_extsize: ["u32", 4],
  fsx_nextents: ["u32", 8],
  fsx_projid: ["u32", 12],
  fsx_cowextsize: ["u32", 16],
});
export const FS_IOC_FSGETXATTR = ior(0x58, /* X */ 31, FSXATTR.size);
export const FS_IOC_FSSETXATTR = iow(0x58, 32, FSXATTR.size);
/** `linux/fs.h`: new entries in this directory get its project id and this flag. */
export const FS_XFLAG_PROJINHERIT = 0x200;

/** The project id of an open file or directory; 0 if it is in no project. */
export function projectId(fd: number, path?: string): number {
  const attributes = new Struct(FSXATTR);
  ioctl(fd, FS_IOC_FSGETXATTR, attributes.bytes, "FS_IOC_FSGETXATTR", path);
  return attributes.get("fsx_projid");
}

/** Whether the file system of an open file has project ids; ENOTTY and EOPNOTSUPP mean no. */
export function hasProjectIds(fd: number, path?: string): boolean {
  const attributes = new Struct(FSXATTR);
  const result = tryIoctl(fd, FS_IOC_FSGETXATTR, attributes.bytes);
  if (result === -ENOTTY || result === -EOPNOTSUPP) return false;
  unwrap(result, "ioctl FS_IOC_FSGETXATTR", path);
  return true;
}

/** Whether new entries in an open directory inherit its project id. */
export function inheritsProject(fd: number, path?: string): boolean {
  const attributes = new Struct(FSXATTR);
  ioctl(fd, FS_IOC_FSGETXATTR, attributes.bytes, "FS_IOC_FSGETXATTR", path);
  return (attributes.get("fsx_xflags") & FS_XFLAG_PROJINHERIT) !== 0;
}

/** Gives an open directory a project id, which new entries in it inherit. */
export function setProjectId(fd: number, id: number, path?: string): void {
  const attributes = new Struct(FSXATTR);
  ioctl(fd, FS_IOC_FSGETXATTR, attributes.bytes, "FS_IOC_FSGETXATTR", path);
  attributes
    .set("fsx_projid", id)
    .set("fsx_xflags", attributes.get("fsx_xflags") | FS_XFLAG_PROJINHERIT);
  ioctl(fd, FS_IOC_FSSETXATTR, attributes.bytes, "FS_IOC_FSSETXATTR", path);
}

/** `PRJQUOTA` of `linux/quota.h`: of the kinds of quota, that of projects. */
export const PRJQUOTA = 2;
/** `SUBCMDSHIFT` of `linux/quota.h`: a command is shifted by it, the kind is or-ed in. */
export const SUBCMDSHIFT = 8;

// Commands: `linux/quota.h`, and `linux/dqblk_xfs.h` for those that begin with Q_X.
export const Q_GETQUOTA = 0x800007;
export const Q_SETQUOTA = 0x800008;
export const Q_XGETQUOTA = 0x5803;
export const Q_XSETQLIM = 0x5804;
export const Q_XGETQSTAT = 0x5805;

/** `struct if_dqblk` of `linux/quota.h`: limits in units of 1,024 bytes, use in bytes. */
export const IF_DQBLK = layout("struct if_dqblk", 72, {
  dqb_bhardlimit: ["u64", 0],
  dqb_bsoftlimit: ["u64", 8],
  dqb_curspace: ["u64", 16],
  dqb_ihardlimit: ["u64", 24],
  dqb_isoftlimit: ["u64", 32],
  dqb_curinodes: ["u64", 40],
  dqb_valid: ["u32", 64],
});
/** `linux/quota.h`: both limits are valid. */
export const QIF_LIMITS = 5;
/** `linux/quota.h`: the unit of limits, in bytes. */
export const QIF_DQBLKSIZE = 1024;

/** `struct fs_disk_quota` of `linux/dqblk_xfs.h`: all sizes in basic blocks of 512 bytes. */
export const FS_DISK_QUOTA = layout("struct fs_disk_quota", 112, {
  d_version: ["u8", 0],
  d_flags: ["u8", 1],
  d_fieldmask: ["u16", 2],
  d_id: ["u32", 4],
  d_blk_hardlimit: ["u64", 8],
  d_blk_softlimit: ["u64", 16],
  d_ino_hardlimit: ["u64", 24],
  d_ino_softlimit: ["u64", 32],
  d_bcount: ["u64", 40],
  d_icount: ["u64", 48],
});
// `linux/dqblk_xfs.h`.
export const FS_DQUOT_VERSION = 1;
export const FS_PROJ_QUOTA = 2;
export const FS_DQ_ISOFT = 1 << 0;
export const FS_DQ_IHARD = 1 << 1;
export const FS_DQ_BSOFT = 1 << 2;
export const FS_DQ_BHARD = 1 << 3;
const BASIC_BLOCK = 512;

/** `struct fs_quota_stat` of `linux/dqblk_xfs.h`. */
export const FS_QUOTA_STAT = layout("struct fs_quota_stat", 80, {
  qs_version: ["u8", 0],
  qs_flags: ["u16", 2],
  qs_incoredqs: ["u32", 56],
});
// `linux/dqblk_xfs.h`: project quotas are counted, and limits are enforced.
export const FS_QUOTA_PDQ_ACCT = 1 << 4;
export const FS_QUOTA_PDQ_ENFD = 1 << 5;

/** `quotactl_fd`'s number: `asm-generic/unistd.h`, the same on every architecture. */
export const SYS_quotactl_fd = 443;

/** The file system of a quota command. */
export interface QuotaTarget {
  /** Any open file on it. */
  readonly fd: number;
  /** The path of that file, for messages. */
  readonly path?: string;
  /** Its block device, which kernels before 5.14 (without `quotactl_fd`) need. */
  readonly device?: Path;
}

let quotactlFd: boolean | undefined;

/**
 * Whether the kernel takes quota commands by a descriptor (Linux 5.14): then none needs the device.
 */
export function hasQuotactlFd(): boolean {
  // EBADF if the kernel has the call; EPERM if a filter of system calls does not know it.
  return quotactlFd ??= tryQuotactlFd(-1, Q_XGETQSTAT, 0, new Uint8Array(1)) === -EBADF;
}

/**
 * A quota command for projects, raw: by `quotactl_fd(2)`, or by `quotactl(2)` and the device on
 * kernels without it. 0 or `-errno`; ENODEV if the latter needs a device and it is not known.
 */
export function tryQuotactl(
  target: QuotaTarget,
  command: number,
  id: number,
  argument: Uint8Array<ArrayBuffer>,
): number {
  if (hasQuotactlFd()) return tryQuotactlFd(target.fd, command, id, argument);
  return target.device === undefined
    ? -ENODEV
    : tryQuotactlByDevice(target.device, command, id, argument);
}

function tryQuotactlFd(
  fd: number,
  command: number,
  id: number,
  argument: Uint8Array<ArrayBuffer>,
): number {
  const packed = (command << SUBCMDSHIFT | PRJQUOTA) >>> 0;
  const result = volumes.quotactl_fd()(SYS_quotactl_fd, fd, packed, id, argument);
  return result < 0 ? -E[0] : result;
}

/** `quotactl(2)` for projects, raw: 0 or `-errno`. */
export function tryQuotactlByDevice(
  device: Path,
  command: number,
  id: number,
  argument: Uint8Array<ArrayBuffer>,
): number {
  const bytes = cstring(device);
  const result = volumes.quotactl()(command << SUBCMDSHIFT | PRJQUOTA, bytes, id, argument);
  return result < 0 ? -E[0] : result;
}

/** Whether project quotas are counted and enforced on a file system. */
export interface QuotaState {
  readonly accounting: boolean;
  readonly enforcing: boolean;
  /**
   * The reason why the state cannot be read, on kernels that take quota commands only by the
   * device.
   */
  readonly obstacle?: string;
}

/**
 * Reads the state; both are false if the file system has no project quotas, is mounted without
 * them, or cannot be asked.
 */
export function quotaState(target: QuotaTarget): QuotaState {
  const state = new Struct(FS_QUOTA_STAT);
  const result = tryQuotactl(target, Q_XGETQSTAT, 0, state.bytes);
  const none = { accounting: false, enforcing: false };
  if (LACKING.has(result)) return none;
  if (!hasQuotactlFd() && UNREACHABLE.has(result)) {
    return { ...none, obstacle: obstacle(target.device, result) };
  }
  unwrap(result, "quotactl Q_XGETQSTAT", target.path);
  const flags = state.get("qs_flags");
  return {
    accounting: (flags & FS_QUOTA_PDQ_ACCT) !== 0,
    enforcing: (flags & FS_QUOTA_PDQ_ENFD) !== 0,
  };
}

/** The errors of a file system or kernel without quotas, or with quotas off (quotactl(2)). */
const LACKING: ReadonlySet<number> = new Set([-ENOSYS, -ESRCH, -EINVAL, -EOPNOTSUPP, -ENOTTY]);

const ENXIO = 6, ENOTBLK = 15;

/**
 * The errors of `quotactl(2)` for a path that is missing, is not a block device, or may not be
 * used.
 */
const UNREACHABLE: ReadonlySet<number> = new Set([
  -ENOENT,
  -ENODEV,
  -ENXIO,
  -ENOTBLK,
  -EACCES,
  -EPERM,
]);

function obstacle(device: Path | undefined, result: number): string {
  const needs = "a kernel without quotactl_fd (Linux 5.14 has it) needs the block device";
  return device === undefined
    ? `${needs}, and no mount names it`
    : `${needs}: ${new SyscallError("quotactl", -result, pathText(device)).message}`;
}

/** Hard limits; 0 is no limit. */
export interface ProjectLimits {
  /** Rounded up to the unit that the file system keeps: 512 or 1,024 bytes. */
  readonly bytes: number;
  readonly inodes: number;
}

/** Limits and the space and inodes in use. */
export interface ProjectUsage extends ProjectLimits {
  readonly usedBytes: number;
  readonly usedInodes: number;
}

/** Sets a project's limits, both of them. */
export function setProjectLimits(target: QuotaTarget, id: number, limits: ProjectLimits): void {
  if (isXfs(target)) setXfsLimits(target, id, limits);
  else setGenericLimits(target, id, limits);
}

/** A project's limits and use; all 0 for a project that was never used. */
export function projectUsage(target: QuotaTarget, id: number): ProjectUsage {
  return isXfs(target) ? xfsUsage(target, id) : genericUsage(target, id);
}

const isXfs = ({ fd }: QuotaTarget) => fstatfs(fd).type === XFS_MAGIC;

function setXfsLimits(target: QuotaTarget, id: number, { bytes, inodes }: ProjectLimits): void {
  const blocks = Math.ceil(bytes / BASIC_BLOCK);
  const quota = new Struct(FS_DISK_QUOTA)
    .set("d_version", FS_DQUOT_VERSION)
    .set("d_flags", FS_PROJ_QUOTA)
    .set("d_fieldmask", FS_DQ_BHARD | FS_DQ_BSOFT | FS_DQ_IHARD | FS_DQ_ISOFT)
    .set("d_id", id)
    .set("d_blk_hardlimit", blocks)
    .set("d_blk_softlimit", blocks)
    .set("d_ino_hardlimit", inodes)
    .set("d_ino_softlimit", inodes);
  unwrap(tryQuotactl(target, Q_XSETQLIM, id, quota.bytes), "quotactl Q_XSETQLIM", target.path);
}

function xfsUsage(target: QuotaTarget, id: number): ProjectUsage {
  const quota = new Struct(FS_DISK_QUOTA);
  const result = tryQuotactl(target, Q_XGETQUOTA, id, quota.bytes);
  if (result !== -ENOENT) unwrap(result, "quotactl Q_XGETQUOTA", target.path);
  return {
    bytes: quota.get("d_blk_hardlimit") * BASIC_BLOCK,
    inodes: quota.get("d_ino_hardlimit"),
    usedBytes: quota.get("d_bcount") * BASIC_BLOCK,
    usedInodes: quota.get("d_icount"),
  };
}

function setGenericLimits(target: QuotaTarget, id: number, { bytes, inodes }: ProjectLimits): void {
  const blocks = Math.ceil(bytes / QIF_DQBLKSIZE);
  const quota = new Struct(IF_DQBLK)
    .set("dqb_bhardlimit", blocks)
    .set("dqb_bsoftlimit", blocks)
    .set("dqb_ihardlimit", inodes)
    .set("dqb_isoftlimit", inodes)
    .set("dqb_valid", QIF_LIMITS);
  unwrap(tryQuotactl(target, Q_SETQUOTA, id, quota.bytes), "quotactl Q_SETQUOTA", target.path);
}

function genericUsage(target: QuotaTarget, id: number): ProjectUsage {
  const quota = new Struct(IF_DQBLK);
  const result = tryQuotactl(target, Q_GETQUOTA, id, quota.bytes);
  if (result !== -ENOENT) unwrap(result, "quotactl Q_GETQUOTA", target.path);
  return {
    bytes: quota.get("dqb_bhardlimit") * QIF_DQBLKSIZE,
    inodes: quota.get("dqb_ihardlimit"),
    usedBytes: quota.get("dqb_curspace"),
    usedInodes: quota.get("dqb_curinodes"),
  };
}
