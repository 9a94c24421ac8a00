/**
 * Mounting by the calls of Linux 5.2 and later: a file system is configured option by option on a
 * *context* descriptor, created, turned into a *mount* descriptor, and put into the tree of mounts
 * last.
 *
 * Messages of the file system wait in the context and are read into the error of the call that
 * failed. All descriptors are close-on-exec and the caller's to close; a mount that was never moved
 * into the tree ends with its descriptor, so a killed process leaves nothing.
 *
 * @module
 */
import { cstring, type Path, pathText } from "./cstring.ts";
import { SyscallError } from "./errno.ts";
import { close, tryRead } from "./files.ts";
import { E, newMounts } from "./libc.ts";
import { AT_EMPTY_PATH, AT_FDCWD } from "./names.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** Numbers of the calls: `asm-generic/unistd.h`, the same on every architecture. */
export const SYSCALLS = {
  SYS_open_tree: 428,
  SYS_move_mount: 429,
  SYS_fsopen: 430,
  SYS_fsconfig: 431,
  SYS_fsmount: 432,
  SYS_mount_setattr: 442,
} as const;

// `linux/mount.h`, all below.
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;

/** `enum fsconfig_command`. */
export const FSCONFIG_SET_FLAG = 0;
export const FSCONFIG_SET_STRING = 1;
export const FSCONFIG_CMD_CREATE = 6;

/** Attributes of a mount, for {@linkcode fsmount}. */
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOATIME = 0x10;
/** The bits that say how a mount treats times of access: cleared when one of them is set. */
export const MOUNT_ATTR__ATIME = 0x70;

/**
 * The longest string {@linkcode fsconfigString} takes, in bytes without NUL (`fsconfig` in
 * `fs/fsopen.c`).
 */
export const FSCONFIG_STRING_MAX = 255;

/**
 * `fsopen(2)`, raw: a context for a new file system of the type, or `-errno`; ENOSYS before Linux
 * 5.2.
 */
export function tryFsopen(type: string): number {
  const bytes = cstring(type);
  const fd = newMounts.fsopen()(SYSCALLS.SYS_fsopen, bytes, FSOPEN_CLOEXEC);
  return fd < 0 ? -E[0] : fd;
}

/** `fsopen(2)`. @throws {SyscallError} ENODEV if the kernel does not have the type */
export function fsopen(type: string): number {
  return unwrap(tryFsopen(type), "fsopen", type);
}

/**
 * `fsconfig(2)`, raw, every command: 0 or `-errno`. Leaves the file system's message in the
 * context.
 */
export function tryFsconfig(
  context: number,
  command: number,
  key: string | null,
  value: Path | null,
  aux = 0,
): number {
  const keyBytes = key === null ? null : cstring(key);
  const valueBytes = value === null ? null : cstring(value);
  const result = newMounts.fsconfig()(
    SYSCALLS.SYS_fsconfig,
    context,
    command,
    keyBytes,
    valueBytes,
    aux,
  );
  return result < 0 ? -E[0] : result;
}

/** An option without a value, such as `ro`. */
export function fsconfigFlag(context: number, key: string): void {
  check(context, tryFsconfig(context, FSCONFIG_SET_FLAG, key, null), key);
}

/** An option with a value of at most {@linkcode FSCONFIG_STRING_MAX} bytes; also `source`. */
export function fsconfigString(context: number, key: string, value: Path): void {
  const result = tryFsconfig(context, FSCONFIG_SET_STRING, key, value);
  check(context, result, `${key}=${pathText(value)}`);
}

/** Creates the file system from the options set, or finds the existing one. */
export function fsconfigCreate(context: number): void {
  check(context, tryFsconfig(context, FSCONFIG_CMD_CREATE, null, null), "create");
}

/** Throws with the file system's messages, if `result` is a failure of `fsconfig` on `what`. */
function check(context: number, result: number, what: string): void {
  if (result < 0) {
    throw new SyscallError("fsconfig", -result, what, contextMessages(context).join("; "));
  }
}

/**
 * More than any message: the kernel formats each into less than a page (`logfc` in
 * `fs/fs_context.c`).
 */
const message = new Uint8Array(4096);

/**
 * The file system's messages about the context's options since the last call, oldest first, without
 * the severity (`e `, `w `, `i `) and the line end.
 */
export function contextMessages(context: number): string[] {
  const messages: string[] = [];
  for (;;) {
    const got = tryRead(context, message);
    if (got <= 0) return messages; // ENODATA: nothing more
    const text = new TextDecoder().decode(message.subarray(0, got));
    messages.push(text.replace(/^[ewi] /, "").trimEnd());
  }
}

/** `fsmount(2)`, raw: a descriptor of a mount outside the tree of mounts, or `-errno`. */
export function tryFsmount(context: number, attributes = 0): number {
  const fd = newMounts.fsmount()(SYSCALLS.SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
  return fd < 0 ? -E[0] : fd;
}

/**
 * `fsmount(2)`: the created file system as a mount, a descriptor that serves as a directory's, too.
 *
 * @param attributes `MOUNT_ATTR_…`
 */
export function fsmount(context: number, attributes = 0): number {
  const fd = tryFsmount(context, attributes);
  if (fd < 0) {
    throw new SyscallError("fsmount", -fd, undefined, contextMessages(context).join("; "));
  }
  return fd;
}

/** Of `open_tree(2)`: a copy of the mount instead of the mount itself. */
const OPEN_TREE_CLONE = 1;
/** `O_CLOEXEC` of `asm-generic/fcntl.h`, by this call's name. */
const OPEN_TREE_CLOEXEC = 0o2000000;

const EMPTY = cstring("");

/**
 * A copy of the mount that an open directory lies on, with the directory as its root and without
 * the mounts below, raw: a descriptor (as of `O_PATH`), or `-errno`. It is attached nowhere, and
 * gone when closed.
 */
export function tryCloneMount(directory: number): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  const fd = newMounts.open_tree()(SYSCALLS.SYS_open_tree, directory, EMPTY, flags);
  return fd < 0 ? -E[0] : fd;
}

/**
 * A copy like that of {@linkcode tryCloneMount} that is read-only and leaves times of access as they
 * are, raw: a descriptor, or `-errno`; ENOSYS before Linux 5.12.
 */
export function tryCloneProtected(directory: number): number {
  const copy = tryCloneMount(directory);
  if (copy < 0) return copy;
  const result = trySetAttributes(copy, {
    attr_set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME,
    attr_clr: MOUNT_ATTR__ATIME,
  });
  if (result === 0) return copy;
  close(copy);
  return result;
}

/** `struct mount_attr` of `linux/mount.h`. */
export const MOUNT_ATTR = layout("struct mount_attr", 32, {
  attr_set: ["u64", 0],
  attr_clr: ["u64", 8],
  propagation: ["u64", 16],
  userns_fd: ["u64", 24],
});

/** `mount_setattr(2)` of a mount of which the root is open, raw; fields left out are 0. */
function trySetAttributes(
  mount: number,
  fields: Readonly<Partial<Record<"attr_set" | "attr_clr" | "userns_fd", number>>>,
): number {
  const attributes = new Struct(MOUNT_ATTR);
  for (const [name, value] of Object.entries(fields)) {
    attributes.set(name as keyof typeof fields, BigInt(value));
  }
  const result = newMounts.mount_setattr()(
    SYSCALLS.SYS_mount_setattr,
    mount,
    EMPTY,
    AT_EMPTY_PATH,
    attributes.bytes,
    BigInt(MOUNT_ATTR.size),
  );
  return result < 0 ? -E[0] : result;
}

/** Of `mount_setattr(2)`: ids are mapped by the user namespace that `userns_fd` stands for. */
export const MOUNT_ATTR_IDMAP = 0x100000;

/**
 * Has a mount that is attached nowhere map ids by a user namespace, raw: 0 or `-errno`; EINVAL if
 * the file system cannot, ENOSYS before Linux 5.12.
 *
 * @param mount a descriptor of {@linkcode tryCloneMount}
 * @param userNamespace open, and not the first one
 */
export function tryMapIds(mount: number, userNamespace: number): number {
  return trySetAttributes(mount, { attr_set: MOUNT_ATTR_IDMAP, userns_fd: userNamespace });
}

const MOVE_MOUNT_F_EMPTY_PATH = 0x4;

/** `move_mount(2)` of the mount that a descriptor stands for, raw: 0 or `-errno`. */
export function tryMoveMount(mount: number, target: Path): number {
  const bytes = cstring(target);
  const result = newMounts.move_mount()(
    SYSCALLS.SYS_move_mount,
    mount,
    EMPTY,
    AT_FDCWD,
    bytes,
    MOVE_MOUNT_F_EMPTY_PATH,
  );
  return result < 0 ? -E[0] : result;
}

/** Puts the mount that a descriptor stands for at `target`. */
export function moveMount(mount: number, target: Path): void {
  unwrap(tryMoveMount(mount, target), "move_mount", target);
}
