/**
 * Files as programs name them, and their descriptors, which system calls need.
 *
 * `Deno.FsFile` hides its descriptor, and the runtime's own number for it is another one. A pipe
 * would not replace it: the thread that fills the pipe from the runtime's side would have to be
 * another than the one that reads from it. So the descriptor is found among this process's own by
 * its position, to which the file was just moved. A file without a position, such as a pipe, is
 * represented by any descriptor of it that is open for the same access.
 *
 * @module
 */
import { readNames } from "../../ffi/directory.ts";
import {
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  open,
  openFlags,
  SEEK_CUR,
  tryLseek,
  withFd,
} from "../../ffi/files.ts";
import { Stat, tryFstat } from "../../ffi/stat.ts";
import { messageOf, VeneerError } from "./errors.ts";
import { writeOutputFile } from "./output_file.ts";

/**
 * A file: the number of an open descriptor, a `Deno.FsFile`, or a path. An open file stays open. It
 * is read or written from its position, and must not be used otherwise meanwhile.
 */
export type FileArgument = number | Deno.FsFile | string | URL;

/** The use of a descriptor. */
type Access = "read" | "write";

/** The access mode in a descriptor's flags: `O_ACCMODE` of `asm-generic/fcntl.h`. */
const ACCESS_MODE = 0o3;

/** An upper bound of positions that every file system allows, VFAT included: 2 GiB. */
const POSITIONS = 2 ** 31;

/** How often the position is moved to tell one descriptor from all others. */
const TRIES = 3;

/**
 * Runs `use` on a descriptor to read from.
 *
 * @throws {VeneerError} `invalid argument` if the argument is not a file
 */
export function withInput<T>(input: FileArgument, use: (fd: number) => T): T {
  const path = pathOf(input);
  return path === undefined ? use(opened(input, "read")) : withFd(open(path, O_RDONLY), use);
}

/**
 * Runs `use` on a descriptor to write to. The file of a path appears, or is replaced, after `use`
 * has succeeded.
 *
 * @throws {VeneerError} `invalid argument` if the argument is not a file
 */
export function withOutput<T>(output: FileArgument, use: (fd: number) => T): T {
  const path = pathOf(output);
  return path === undefined ? use(opened(output, "write")) : writeOutputFile(path, use);
}

function pathOf(file: FileArgument): string | undefined {
  if (typeof file === "string") return file;
  if (!(file instanceof URL)) return undefined;
  if (file.protocol !== "file:" || file.host !== "") {
    throw invalid(`${file} is not a URL of a file`);
  }
  return decodeURIComponent(file.pathname);
}

function opened(file: FileArgument, access: Access): number {
  if (file instanceof Deno.FsFile) return descriptorOf(file, access);
  if (typeof file === "number" && Number.isInteger(file) && file >= 0 && file < 2 ** 31) {
    return file;
  }
  throw invalid(`${Deno.inspect(file)} is not a file: pass a descriptor, a Deno.FsFile or a path`);
}

/**
 * The descriptor of an open file, which stays the file's own.
 *
 * @throws {VeneerError} `invalid argument` if the file is closed, or not open for that
 */
export function descriptorOf(file: Deno.FsFile, access: Access): number {
  let info: Deno.FileInfo;
  try {
    info = file.statSync();
  } catch (error) {
    throw new VeneerError("invalid argument", `the file is closed: ${messageOf(error)}`);
  }
  const fitting = ownDescriptors().filter((fd) => isOpenFor(fd, access));
  const [found] = info.isFile || info.isBlockDevice
    ? following(file, fitting, info)
    : fitting.filter((fd) => isInode(fd, info));
  if (found === undefined) throw invalid(`the file is not open to ${access}`);
  return found;
}

/** The descriptors of this process, including the one that listed them, which is closed. */
function ownDescriptors(): number[] {
  return withFd(open("/proc/self/fd", O_RDONLY | O_DIRECTORY), readNames).map(Number);
}

function isOpenFor(fd: number, access: Access): boolean {
  try {
    const flags = openFlags(fd);
    const only = access === "read" ? O_RDONLY : O_WRONLY;
    return (flags & O_PATH) === 0 && [only, O_RDWR].includes(flags & ACCESS_MODE);
  } catch {
    return false; // Closed since it was listed.
  }
}

/** The descriptors whose position follows the file's. */
function following(
  file: Deno.FsFile,
  descriptors: readonly number[],
  { isFile }: Deno.FileInfo,
): number[] {
  const position = file.seekSync(0, Deno.SeekMode.Current);
  // A device has no positions behind its end.
  const end = isFile ? POSITIONS : file.seekSync(0, Deno.SeekMode.End);
  let found = [...descriptors];
  for (let tries = 0; tries < TRIES; tries++) {
    const place = BigInt(file.seekSync(Math.floor(Math.random() * end), Deno.SeekMode.Start));
    found = found.filter((fd) => tryLseek(fd, 0n, SEEK_CUR) === place);
  }
  file.seekSync(position, Deno.SeekMode.Start);
  return found;
}

/** Whether a descriptor's inode is the one that the runtime reports. */
function isInode(fd: number, { dev, ino }: Deno.FileInfo): boolean {
  const stat = new Stat();
  if (tryFstat(fd, stat) < 0) return false;
  return Number(stat.inode) === ino && deviceNumber(stat) === dev;
}

/** A device's number as the C library composes it: `gnu_dev_makedev` of `sys/sysmacros.h`. */
function deviceNumber({ devMajor, devMinor }: Stat): number {
  const [major, minor] = [BigInt(devMajor), BigInt(devMinor)];
  return Number(
    minor & 0xffn | (major & 0xfffn) << 8n | (minor & ~0xffn) << 12n | (major & ~0xfffn) << 32n,
  );
}

const invalid = (message: string) => new VeneerError("invalid argument", message);
