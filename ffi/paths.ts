/**
 * Calls on whole paths: for paths that an administrator or the system gave (a root, `/run`,
 * `/proc`), whose directories are trusted. Files in a store or a layer are reached by descriptor
 * and name instead (`tree.ts`).
 *
 * Each call has a raw form `try…` (result or `-errno`).
 *
 * @module
 */
import { cstring, decode, type Path } from "./cstring.ts";
import { E, tree } from "./libc.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, PATH_MAX } from "./names.ts";
import { unwrap } from "./unwrap.ts";

/** `mkdir(2)`, raw. */
export function tryMkdir(path: Path, mode: number): number {
  const bytes = cstring(path);
  const result = tree.mkdirat()(AT_FDCWD, bytes, mode);
  return result < 0 ? -E[0] : result;
}

/** `mkdir(2)`. */
export function mkdir(path: Path, mode: number): void {
  unwrap(tryMkdir(path, mode), "mkdir", path);
}

/** `mknod(2)`, raw. `mode` holds the type; `device` is from `makedev`, 0 for fifos and sockets. */
export function tryMknod(path: Path, mode: number, device = 0n): number {
  const bytes = cstring(path);
  const result = tree.mknodat()(AT_FDCWD, bytes, mode, device);
  return result < 0 ? -E[0] : result;
}

/** `mknod(2)`. */
export function mknod(path: Path, mode: number, device = 0n): void {
  unwrap(tryMknod(path, mode, device), "mknod", path);
}

/** `unlink(2)`, raw; with `AT_REMOVEDIR` in `flags` for a directory. */
export function tryUnlink(path: Path, flags = 0): number {
  const bytes = cstring(path);
  const result = tree.unlinkat()(AT_FDCWD, bytes, flags);
  return result < 0 ? -E[0] : result;
}

/** `unlink(2)`. */
export function unlink(path: Path, flags = 0): void {
  unwrap(tryUnlink(path, flags), "unlink", path);
}

/** `renameat2(2)` of two paths, raw; `flags` are `RENAME_…` of `tree.ts`. */
export function tryRename(oldPath: Path, newPath: Path, flags = 0): number {
  const oldBytes = cstring(oldPath), newBytes = cstring(newPath);
  const result = tree.renameat2()(AT_FDCWD, oldBytes, AT_FDCWD, newBytes, flags);
  return result < 0 ? -E[0] : result;
}

/** `renameat2(2)` of two paths. */
export function rename(oldPath: Path, newPath: Path, flags = 0): void {
  unwrap(tryRename(oldPath, newPath, flags), "rename", oldPath);
}

const target = new Uint8Array(PATH_MAX);

/** `readlink(2)`, raw: the target's bytes, valid until the next call, or `-errno`. */
export function tryReadlink(path: Path): Uint8Array<ArrayBuffer> | number {
  const bytes = cstring(path);
  const length = tree.readlinkat()(AT_FDCWD, bytes, target, PATH_MAX);
  return length < 0 ? -E[0] : target.subarray(0, length);
}

/** `readlink(2)`: the target as text. */
export function readlink(path: Path): string {
  const result = tryReadlink(path);
  if (typeof result !== "number") return decode(result);
  unwrap(result, "readlink", path);
  return "";
}

/** `lchown(2)`, raw. An id of 0xffffffff is left unchanged. */
export function tryLchown(path: Path, uid: number, gid: number): number {
  const bytes = cstring(path);
  const result = tree.fchownat()(AT_FDCWD, bytes, uid, gid, AT_SYMLINK_NOFOLLOW);
  return result < 0 ? -E[0] : result;
}

/** `lchown(2)`. */
export function lchown(path: Path, uid: number, gid: number): void {
  unwrap(tryLchown(path, uid, gid), "lchown", path);
}
