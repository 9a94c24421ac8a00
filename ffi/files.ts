/**
 * Open files: opening, reading, writing, copying in the kernel.
 *
 * Each call has a raw form `try…` (result or `-errno`) and a form that throws
 * {@linkcode SyscallError}. Every descriptor is opened close-on-exec.
 *
 * @module
 */
import { cstring, type Path } from "./cstring.ts";
import type { EntryName } from "./entry_name.ts";
import { EAGAIN, EINTR } from "./errno.ts";
import { E, io } from "./libc.ts";
import { AT_FDCWD } from "./names.ts";
import { unwrapOpen } from "./open_files.ts";
import { waitReadable, waitWritable } from "./poll.ts";
import { layout, Struct } from "./struct.ts";
import { assertRange, unwrap } from "./unwrap.ts";

// Open flags: `asm-generic/fcntl.h`. O_DIRECTORY and O_NOFOLLOW differ between x86_64 and aarch64.
const ARM = Deno.build.arch === "aarch64";
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DIRECTORY = ARM ? 0o40000 : 0o200000;
export const O_NOFOLLOW = ARM ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const O_TMPFILE = 0o20000000 | O_DIRECTORY;

// The standard streams: `unistd.h`.
export const STDIN_FILENO = 0;
export const STDOUT_FILENO = 1;
export const STDERR_FILENO = 2;

/**
 * `openat(2)` of a directory's entry, raw: a descriptor or `-errno`. Never follows a symbolic link
 * (`ELOOP`, or `ENOTDIR` with `O_DIRECTORY`). `O_CLOEXEC` and `O_NOFOLLOW` are added.
 */
export function tryOpenat(dirfd: number, name: EntryName, flags: number, mode = 0): number {
  const fd = io.openat()(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
  return fd < 0 ? -E[0] : fd;
}

/** `openat(2)` of a directory's entry: a new descriptor, which the caller closes. */
export function openat(dirfd: number, name: EntryName, flags: number, mode = 0): number {
  return unwrap(tryOpenat(dirfd, name, flags, mode), "openat", name);
}

const SELF = cstring("."), PARENT = cstring("..");

/** Opens a directory again, from its start and with other flags, raw. `mode` is for `O_TMPFILE`. */
export function tryReopen(directory: number, flags: number, mode = 0): number {
  const fd = io.openat()(directory, SELF, flags | O_CLOEXEC, mode);
  return fd < 0 ? -E[0] : fd;
}

/**
 * Opens a directory again, from its start and with other flags: a new descriptor, which the caller
 * closes.
 */
export function reopen(directory: number, flags: number): number {
  return unwrap(tryReopen(directory, flags), "openat", SELF);
}

/**
 * Opens the directory above an open one, raw. The caller must check that it is the expected one.
 */
export function tryOpenParent(directory: number, flags: number): number {
  const fd = io.openat()(directory, PARENT, flags | O_CLOEXEC, 0);
  return fd < 0 ? -E[0] : fd;
}

/**
 * `open(2)`, raw: for trusted paths (see `paths.ts`), whose links are followed unless `flags` say
 * otherwise.
 */
export function tryOpen(path: Path, flags: number, mode = 0): number {
  const bytes = cstring(path);
  const fd = io.openat()(AT_FDCWD, bytes, flags | O_CLOEXEC, mode);
  return fd < 0 ? -E[0] : fd;
}

/** `open(2)`: a new descriptor, which the caller closes. */
export function open(path: Path, flags: number, mode = 0): number {
  return unwrap(tryOpen(path, flags, mode), "open", path);
}

/** `struct open_how` of `linux/openat2.h`. */
export const OPEN_HOW = layout("struct open_how", 24, {
  flags: ["u64", 0],
  mode: ["u64", 8],
  resolve: ["u64", 16],
});

// `linux/openat2.h`.
/** No crossing into another mount. */
export const RESOLVE_NO_XDEV = 0x01;
/** No links such as `/proc/<pid>/fd/N`, which can lead anywhere. */
export const RESOLVE_NO_MAGICLINKS = 0x02;
/** No symbolic links at all. */
export const RESOLVE_NO_SYMLINKS = 0x04;
/** Refuse paths that lead above `dirfd`. */
export const RESOLVE_BENEATH = 0x08;
/** `dirfd` is the root: absolute links and `..` stay inside. */
export const RESOLVE_IN_ROOT = 0x10;

/** `openat2`'s number: `asm-generic/unistd.h`, the same on every architecture. */
const SYS_openat2 = 437;

/**
 * How often a path is resolved again. For a path with `..` the kernel returns EAGAIN if anything on
 * the machine was renamed or mounted meanwhile, because it cannot prove then that the path stayed
 * inside.
 */
const MOST_RESOLUTIONS = 128;

const how = new Struct(OPEN_HOW);

/**
 * `openat2(2)`, raw: opens a path below a directory.
 *
 * @param resolve `RESOLVE_…`, among them `RESOLVE_BENEATH` or `RESOLVE_IN_ROOT`, so that no path
 *                leads out of the directory
 */
export function tryOpenat2(
  dirfd: number,
  path: Path,
  flags: number,
  resolve: number,
  mode = 0,
): number {
  if ((resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) === 0) {
    throw new TypeError("openat2 without a rule that keeps the path inside its directory");
  }
  const bytes = cstring(path);
  how.set("flags", flags | O_CLOEXEC).set("mode", mode).set("resolve", resolve);
  let result = -EAGAIN;
  for (let i = 0; result === -EAGAIN && i < MOST_RESOLUTIONS; i++) {
    const fd = io.openat2()(SYS_openat2, dirfd, bytes, how.bytes, OPEN_HOW.size);
    result = fd < 0 ? -E[0] : fd;
  }
  return result;
}

/** `openat2(2)`: a new descriptor, which the caller closes. */
export function openat2(
  dirfd: number,
  path: Path,
  flags: number,
  resolve: number,
  mode = 0,
): number {
  return unwrap(
    tryOpenat2(dirfd, path, flags, resolve, mode),
    "openat2",
    path,
  );
}

/** The rules for paths in a store or a layer: below the directory, and through no link. */
export const RESOLVE_INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/** `struct file_handle` of open_by_handle_at(2), without the bytes that follow it. */
export const FILE_HANDLE = layout("struct file_handle", 8, {
  handle_bytes: ["u32", 0],
  handle_type: ["i32", 4],
});

/**
 * `open_by_handle_at(2)`, raw: opens a file by the file system's own handle, without a path. Needs
 * CAP_DAC_READ_SEARCH.
 *
 * @param mount a descriptor of anything on the file system
 */
export function tryOpenByHandle(
  mount: number,
  type: number,
  handle: Uint8Array,
  flags: number,
): number {
  const args = new Struct(FILE_HANDLE, FILE_HANDLE.size + handle.length)
    .set("handle_bytes", handle.length)
    .set("handle_type", type);
  args.bytes.set(handle, FILE_HANDLE.size);
  const fd = io.open_by_handle_at()(mount, args.bytes, flags | O_CLOEXEC);
  return fd < 0 ? -E[0] : fd;
}

/** `close(2)`. A failure is ignored: the descriptor is closed in any case. */
export function close(fd: number): void {
  io.close()(fd);
}

/** Runs `use` on an open descriptor and closes it in any case. */
export function withFd<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    close(fd);
  }
}

/** What errors call a pipe or a socket, which has no name. */
const INPUT = "of the input", OUTPUT = "to the output";

/** Views of shared memory are passed like others; only the runtime's types exclude them. */
const passable = (buffer: Uint8Array) => buffer as Uint8Array<ArrayBuffer>;

/**
 * `read(2)`, raw, again after EINTR: bytes read, 0 at the end. `buffer` is filled from its start.
 */
export function tryRead(
  fd: number,
  buffer: Uint8Array,
  count: number = buffer.byteLength,
): number {
  assertRange(buffer, 0, count);
  for (;;) {
    const got = io.read()(fd, passable(buffer), count);
    const result = got < 0 ? -E[0] : got;
    if (result !== -EINTR) return result;
  }
}

/** `read(2)`, which waits also if the descriptor does not block. An error names the file. */
export function read(
  fd: number,
  buffer: Uint8Array,
  count: number = buffer.byteLength,
): number {
  for (;;) {
    const got = tryRead(fd, buffer, count);
    if (got !== -EAGAIN) return unwrapOpen(got, "read", fd, INPUT);
    waitReadable(fd);
  }
}

/** `pread(2)`: bytes read at `offset` (in bytes), 0 at the end. An error names the file. */
export function pread(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
  count: number,
  offset: bigint,
): number {
  assertRange(buffer, 0, count);
  for (;;) {
    const got = io.pread64()(fd, buffer, count, offset);
    const result = got < 0 ? -E[0] : got;
    if (result !== -EINTR) return unwrapOpen(result, "pread", fd, INPUT);
  }
}

/** `write(2)`, raw, again after EINTR: bytes written, possibly fewer than `count`. */
export function tryWrite(
  fd: number,
  buffer: Uint8Array,
  count: number = buffer.byteLength,
): number {
  assertRange(buffer, 0, count);
  for (;;) {
    const got = io.write()(fd, passable(buffer), count);
    const result = got < 0 ? -E[0] : got;
    if (result !== -EINTR) return result;
  }
}

/**
 * Writes all of `buffer`, and waits where a descriptor that does not block takes none.
 *
 * @throws {SyscallError} that names the file
 */
export function writeAll(fd: number, buffer: Uint8Array): void {
  for (let rest = buffer; rest.byteLength > 0;) {
    const put = tryWrite(fd, rest);
    if (put === -EAGAIN) waitWritable(fd);
    else rest = rest.subarray(unwrapOpen(put, "write", fd, OUTPUT));
  }
}

/** `pwrite(2)`: writes all of `buffer` at `offset` (in bytes). */
export function pwriteAll(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
  offset: bigint,
): void {
  let rest = buffer;
  while (rest.byteLength > 0) {
    const put = io.pwrite64()(fd, rest, rest.byteLength, offset);
    const result = put < 0 ? -E[0] : put;
    if (result === -EINTR) continue;
    unwrapOpen(result, "pwrite", fd);
    rest = rest.subarray(result);
    offset += BigInt(result);
  }
}

/** Reads a whole small file (metadata). */
export function readFile(path: Path): Uint8Array<ArrayBuffer> {
  return withFd(open(path, O_RDONLY), readToEnd);
}

/** Reads an open file from its current position to its end. */
export function readToEnd(fd: number): Uint8Array<ArrayBuffer> {
  let buffer = new Uint8Array(4096);
  let length = 0;
  for (;;) {
    if (length === buffer.length) {
      const larger = new Uint8Array(buffer.length * 4);
      larger.set(buffer);
      buffer = larger;
    }
    const got = read(fd, buffer.subarray(length));
    if (got === 0) return buffer.subarray(0, length);
    length += got;
  }
}

/** The origin of an offset of `lseek(2)`: `linux/fs.h`. */
export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
/** To the next data at or after an offset; ENXIO if only a hole follows. */
export const SEEK_DATA = 3;
/** To the next hole at or after an offset; the end of the file is one. */
export const SEEK_HOLE = 4;

/** `lseek(2)`, raw: the new offset in bytes, or a negated error number. */
export function tryLseek(fd: number, offset: bigint, whence: number): bigint {
  const result = io.lseek64()(fd, offset, whence);
  return result < 0n ? BigInt(-E[0]) : result;
}

/** `lseek(2)`: the new offset in bytes. */
export function lseek(fd: number, offset: bigint, whence: number): bigint {
  const result = tryLseek(fd, offset, whence);
  unwrapOpen(Number(result), "lseek", fd);
  return result;
}

/** `ftruncate(2)`: sets a file's length in bytes. */
export function ftruncate(fd: number, length: bigint, path?: Path): void {
  const result = io.ftruncate64()(fd, length);
  unwrap(result < 0 ? -E[0] : result, "ftruncate", path);
}

/** `fallocate(2)`: allocates `length` bytes from `offset`. Raw. */
export function tryFallocate(
  fd: number,
  mode: number,
  offset: bigint,
  length: bigint,
): number {
  const result = io.fallocate64()(fd, mode, offset, length);
  return result < 0 ? -E[0] : result;
}

/** `fsync(2)`. */
export function fsync(fd: number, path?: Path): void {
  const result = io.fsync()(fd);
  unwrap(result < 0 ? -E[0] : result, "fsync", path);
}

// `linux/fs.h`.
const SYNC_FILE_RANGE_WAIT_BEFORE = 1;
const SYNC_FILE_RANGE_WRITE = 2;
const SYNC_FILE_RANGE_WAIT_AFTER = 4;

/** `sync_file_range(2)` of a whole file. */
function syncRange(fd: number, flags: number, path?: Path): void {
  const result = io.sync_file_range()(fd, 0n, 0n, flags);
  unwrap(result < 0 ? -E[0] : result, "sync_file_range", path);
}

/**
 * Hands a file's data to the file system and waits until it has it (`sync_file_range(2)`). The data
 * is on disk only after the file system's next commit.
 */
export function writeBack(fd: number, path?: Path): void {
  syncRange(fd, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER, path);
}

/** Begins to write a file's data to the disk (`sync_file_range(2)`), and does not wait for it. */
export function beginWriteBack(fd: number): void {
  syncRange(fd, SYNC_FILE_RANGE_WRITE);
}

/**
 * Writes all of a file's data to the disk and waits for it (`sync_file_range(2)`). Until an `fsync`
 * on this file system, the data may be in the disk's cache only, and the metadata that locates it
 * in the file system's journal only.
 */
export function storeData(fd: number): void {
  const all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  syncRange(fd, all);
}

/**
 * `fdatasync(2)`: like {@linkcode fsync}, but for times and other attributes that are not needed to
 * read the data.
 */
export function fdatasync(fd: number, path?: Path): void {
  const result = io.fdatasync()(fd);
  unwrap(result < 0 ? -E[0] : result, "fdatasync", path);
}

/** `syncfs(2)`: writes out the whole file system that `fd` lies on. */
export function syncfs(fd: number, path?: Path): void {
  const result = io.syncfs()(fd);
  unwrap(result < 0 ? -E[0] : result, "syncfs", path);
}

/**
 * A close-on-exec pipe: the descriptors to read from and to write to.
 *
 * @param flags `O_NONBLOCK`, of both ends
 */
export function pipe(flags = 0): { readable: number; writable: number } {
  const ends = new Int32Array(2);
  const result = io.pipe2()(new Uint8Array(ends.buffer), O_CLOEXEC | flags);
  unwrap(result < 0 ? -E[0] : result, "pipe2");
  return { readable: ends[0], writable: ends[1] };
}

// `linux/fcntl.h`, `asm-generic/fcntl.h`.
const F_DUPFD_CLOEXEC = 1030;
const F_SETPIPE_SZ = 1031;
const F_SETFD = 2;
const F_GETFL = 3;
const FD_CLOEXEC = 1;

/** A pipe takes so many bytes in one piece: `linux/limits.h`, pipe(7). */
export const PIPE_BUF = 4096;

/**
 * The capacity in bytes that an unprivileged process may ask for: `/proc/sys/fs/pipe-max-size`, its
 * default.
 */
export const LARGEST_PIPE = 1 << 20;

/**
 * Asks for a pipe's capacity in bytes; raw: the capacity it got, or `-errno` (also for a descriptor
 * that is not a pipe).
 */
export function trySetPipeSize(fd: number, size: number): number {
  const result = io.fcntl()(fd, F_SETPIPE_SZ, size);
  return result < 0 ? -E[0] : result;
}

/** The flags of a descriptor: its access mode, `O_APPEND` and such (fcntl(2)). */
export function openFlags(fd: number): number {
  const result = io.fcntl()(fd, F_GETFL, 0);
  return unwrap(result < 0 ? -E[0] : result, "fcntl F_GETFL");
}

/** Sets close-on-exec on a descriptor opened elsewhere, so that child programs do not get it. */
export function setCloseOnExec(fd: number): void {
  const result = io.fcntl()(fd, F_SETFD, FD_CLOEXEC);
  unwrap(result < 0 ? -E[0] : result, "fcntl F_SETFD");
}

/** Another descriptor of the same open file, which the caller closes. */
export function duplicate(fd: number): number {
  const result = io.fcntl()(fd, F_DUPFD_CLOEXEC, 0);
  return unwrap(result < 0 ? -E[0] : result, "fcntl F_DUPFD_CLOEXEC");
}

/** `dup3(2)`: makes `target` another name of `fd`. */
export function dup3(fd: number, target: number): void {
  const result = io.dup3()(fd, target, O_CLOEXEC);
  unwrap(result < 0 ? -E[0] : result, "dup3");
}

/** A file in memory that no path names (`memfd_create(2)`). */
export function memfd(name: string): number {
  const MFD_CLOEXEC = 1;
  const bytes = cstring(name);
  const result = io.memfd_create()(bytes, MFD_CLOEXEC);
  return unwrap(result < 0 ? -E[0] : result, "memfd_create");
}
