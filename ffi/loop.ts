/**
 * Loop devices: a file as a block device (loop(4)).
 *
 * A device that is attached with `autoclear` is detached from its file when the last user closes
 * it: opened here, mounted, and closed here, it lives exactly as long as the mount, and a killed
 * process leaves nothing. udev is not needed: a missing device node is made.
 *
 * @module
 */
import { encode } from "./cstring.ts";
import { EBUSY, EEXIST, ENOENT, ENXIO, SyscallError } from "./errno.ts";
import { close, O_RDONLY, O_RDWR, open, tryOpen, withFd } from "./files.ts";
import { ioctl, tryIoctl } from "./ioctl.ts";
import { tryMknod } from "./paths.ts";
import { layout, Struct } from "./struct.ts";
import { makedev, S_IFBLK } from "./names.ts";
import { unwrap } from "./unwrap.ts";

// `linux/loop.h`, all of it: plain numbers from before `_IO`.
export const LOOP_CLR_FD = 0x4c01n;
export const LOOP_GET_STATUS64 = 0x4c05n;
export const LOOP_SET_CAPACITY = 0x4c07n;
export const LOOP_CONFIGURE = 0x4c0an;
export const LOOP_CTL_GET_FREE = 0x4c82n;
export const LO_FLAGS_READ_ONLY = 1;
export const LO_FLAGS_AUTOCLEAR = 4;
export const LO_FLAGS_DIRECT_IO = 16;
/** The longest `lo_file_name`, its NUL included. */
export const LO_NAME_SIZE = 64;

/** `struct loop_info64`. */
export const LOOP_INFO64 = layout("struct loop_info64", 232, {
  lo_device: ["u64", 0],
  lo_inode: ["u64", 8],
  lo_rdevice: ["u64", 16],
  lo_offset: ["u64", 24],
  lo_sizelimit: ["u64", 32],
  lo_number: ["u32", 40],
  lo_flags: ["u32", 52],
  lo_file_name: ["u8", 56],
});

/** `struct loop_config`. */
export const LOOP_CONFIG = layout("struct loop_config", 304, {
  fd: ["u32", 0],
  block_size: ["u32", 4],
  "info.lo_offset": ["u64", 32],
  "info.lo_sizelimit": ["u64", 40],
  "info.lo_flags": ["u32", 60],
  "info.lo_file_name": ["u8", 64],
});

/** `LOOP_MAJOR` of `linux/major.h`. */
export const LOOP_MAJOR = 7;

const CONTROL = "/dev/loop-control";

/** How {@linkcode attach} sets a device up. */
export interface LoopOptions {
  /** The file is opened, and the device is, for reading only. */
  readOnly?: boolean;
  /** Detach when the last user closes the device. */
  autoclear?: boolean;
  /** Read and write the file without the page cache, if its file system supports that. */
  directIo?: boolean;
  /** The offset of the device in the file, in bytes. */
  offset?: number;
  /** The device's logical block size in bytes; the kernel's choice (512) if left out. */
  blockSize?: number;
}

/** An attached device; `fd` is open on it and the caller's to close. */
export interface LoopDevice {
  readonly number: number;
  readonly path: string;
  readonly fd: number;
}

/** Most numbers tried in a row, if other processes take each free number before this one does. */
const ATTEMPTS = 100;

/**
 * Attaches a file to a free loop device.
 *
 * @throws {SyscallError} EBUSY also if other processes took a hundred free numbers in a row
 */
export function attach(file: string, options: LoopOptions = {}): LoopDevice {
  return withFd(
    open(file, accessMode(options)),
    (backing) => attachOpen(backing, file, options),
  );
}

/** The same for an open file, which the caller closes; `file` is the path that the device shows. */
export function attachOpen(backing: number, file: string, options: LoopOptions = {}): LoopDevice {
  const config = configuration(backing, file, options);
  return withFd(openControl(), (control) => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const number = ioctl(control, LOOP_CTL_GET_FREE, 0, "LOOP_CTL_GET_FREE", CONTROL);
      const device = tryAttach(number, accessMode(options), config);
      if (device) return device;
    }
    throw new SyscallError("ioctl LOOP_CONFIGURE", EBUSY, file);
  });
}

const accessMode = ({ readOnly }: LoopOptions) => readOnly ? O_RDONLY : O_RDWR;

/** `undefined` if the number is no longer free. */
function tryAttach(number: number, mode: number, config: Uint8Array<ArrayBuffer>) {
  const path = makeNode(number);
  const fd = tryOpen(path, mode);
  if (fd === -ENXIO || fd === -ENOENT) return undefined; // removed meanwhile
  unwrap(fd, "open", path);
  const result = tryIoctl(fd, LOOP_CONFIGURE, config);
  if (result >= 0) return { number, path, fd };
  close(fd);
  if (result === -EBUSY) return undefined;
  throw new SyscallError("ioctl LOOP_CONFIGURE", -result, path);
}

function configuration(backing: number, file: string, options: LoopOptions) {
  const flags = (options.readOnly ? LO_FLAGS_READ_ONLY : 0) |
    (options.autoclear ? LO_FLAGS_AUTOCLEAR : 0) |
    (options.directIo ? LO_FLAGS_DIRECT_IO : 0);
  return new Struct(LOOP_CONFIG)
    .set("fd", backing)
    .set("block_size", options.blockSize ?? 0)
    .set("info.lo_offset", options.offset ?? 0)
    .set("info.lo_flags", flags)
    // For listings of devices; cut to the field, as losetup does. The kernel itself keeps the open
    // file.
    .put("info.lo_file_name", encode(file).subarray(0, LO_NAME_SIZE - 1))
    .bytes;
}

/**
 * Opens the control device; a missing node is made (10:237, `LOOP_CTRL_MINOR` of
 * `linux/miscdevice.h`).
 */
function openControl(): number {
  const MISC_MAJOR = 10, LOOP_CTRL_MINOR = 237, S_IFCHR = 0o020000;
  const fd = tryOpen(CONTROL, O_RDWR);
  if (fd !== -ENOENT) return unwrap(fd, "open", CONTROL);
  makeDevice(CONTROL, S_IFCHR, makedev(MISC_MAJOR, LOOP_CTRL_MINOR));
  return open(CONTROL, O_RDWR);
}

/** The path of a loop device's node, which is made if it is missing. */
function makeNode(number: number): string {
  const path = `/dev/loop${number}`;
  makeDevice(path, S_IFBLK, makedev(LOOP_MAJOR, number));
  return path;
}

function makeDevice(path: string, type: number, device: bigint): void {
  const result = tryMknod(path, type | 0o660, device);
  if (result !== -EEXIST) unwrap(result, "mknodat", path);
}

/**
 * Detaches a device: at once, or, if it is open elsewhere, when its last user closes it.
 *
 * @param device its path, or a descriptor of it
 * @returns `false` if no file was attached
 */
export function detach(device: string | number): boolean {
  if (typeof device === "string") return withFd(open(device, O_RDONLY), detach);
  const result = tryIoctl(device, LOOP_CLR_FD, 0);
  if (result === -ENXIO) return false;
  unwrap(result, "ioctl LOOP_CLR_FD");
  return true;
}

/** Sets the device's size to that of its file, which has grown. */
export function refreshCapacity(fd: number): void {
  ioctl(fd, LOOP_SET_CAPACITY, 0, "LOOP_SET_CAPACITY");
}

/** The file behind a device. */
export interface LoopStatus {
  readonly number: number;
  /** The file's file system as `stat` gives it (`makedev`), and its inode there. */
  readonly device: bigint;
  readonly inode: bigint;
  /** In bytes. */
  readonly offset: number;
  readonly readOnly: boolean;
  readonly autoclear: boolean;
  readonly directIo: boolean;
}

/** The file behind an open loop device; `undefined` if it is not attached. */
export function loopStatus(fd: number): LoopStatus | undefined {
  const info = new Struct(LOOP_INFO64);
  const result = tryIoctl(fd, LOOP_GET_STATUS64, info.bytes);
  if (result === -ENXIO) return undefined;
  unwrap(result, "ioctl LOOP_GET_STATUS64");
  const flags = info.get("lo_flags");
  return {
    number: info.get("lo_number"),
    device: info.big("lo_device"),
    inode: info.big("lo_inode"),
    offset: info.get("lo_offset"),
    readOnly: (flags & LO_FLAGS_READ_ONLY) !== 0,
    autoclear: (flags & LO_FLAGS_AUTOCLEAR) !== 0,
    directIo: (flags & LO_FLAGS_DIRECT_IO) !== 0,
  };
}
