/**
 * Namespaces for a part of the work of this thread: user namespaces, which stand for id maps, and
 * mount namespaces, whose mounts end with them, however this process ends.
 *
 * @module
 */
import { cstring, encode } from "./cstring.ts";
import { ENOENT, ESRCH, SyscallError } from "./errno.ts";
import { chrootHere } from "./exec.ts";
import { close, O_DIRECTORY, O_PATH, O_RDONLY, O_WRONLY, open, tryWrite } from "./files.ts";
import { E, namespaces } from "./libc.ts";
import { fchdir, unshareMountNamespace } from "./process.ts";
import { unwrap } from "./unwrap.ts";

// `linux/sched.h`.
const CLONE_NEWNS = 0x20000;
const CLONE_NEWUSER = 0x10000000;
/** Of waitpid(2): also a child that sends no signal when it ends; `linux/wait.h`. */
const __WALL = 0x40000000;
const SIGKILL = 9;
// `linux/prctl.h` and `linux/securebits.h`.
const PR_GET_SECUREBITS = 27;
const PR_SET_SECUREBITS = 28;
const SECBIT_NO_SETUID_FIXUP = 1 << 2;

/** A child's stack, for one call of the C library. */
const STACK = 64 << 10;

/** How long the holder of a namespace sleeps, in seconds; the next one longer if that is too short. */
const SLEEPS = [1, 8, 60];

/** The most bytes of a map that the kernel takes, a line for each range (user_namespaces(7)). */
export const ID_MAP_MAX = 4095;

/**
 * Makes a user namespace of maps, each a line `inside outside size` for each range; returns a
 * descriptor of it, the caller's to close. Nothing runs in it.
 *
 * A process with several threads cannot make one for itself (unshare(2)), so a child does. The child
 * runs no code of this program: it is `clone(2)`d with the C library's `sleep` as its function, and
 * killed once the namespace is open. If this process is killed before, the child ends by itself.
 *
 * @throws {SyscallError} with the call that failed; EPERM or ENOSPC if namespaces are not allowed
 */
export function userNamespace(uidMap: string, gidMap: string): number {
  for (const [i, seconds] of SLEEPS.entries()) {
    try {
      return tryUserNamespace(uidMap, gidMap, seconds);
    } catch (error) {
      const isGone = error instanceof SyscallError && [ENOENT, ESRCH].includes(error.errno);
      if (!isGone || i === SLEEPS.length - 1) throw error;
    }
  }
  throw new Error("unreachable");
}

function tryUserNamespace(uidMap: string, gidMap: string, seconds: number): number {
  const pid = startSleeper(seconds);
  try {
    write(`/proc/${pid}/uid_map`, uidMap);
    write(`/proc/${pid}/gid_map`, gidMap);
    return open(`/proc/${pid}/ns/user`, O_RDONLY);
  } finally {
    namespaces.kill()(pid, SIGKILL);
    namespaces.waitpid()(pid, null, __WALL);
  }
}

/** Starts a child in a user namespace of its own, which sleeps and ends; returns its process id. */
function startSleeper(seconds: number): number {
  const sleep = namespaces.dlsym()(null, cstring("sleep"));
  if (sleep === null) throw new Error("the C library has no sleep");
  const stack = new Uint8Array(STACK);
  // Stacks grow down, from an address that 16 divides.
  const end = Deno.UnsafePointer.value(Deno.UnsafePointer.of(stack)) + BigInt(STACK);
  const top = Deno.UnsafePointer.create(end & ~15n);
  const pid = namespaces.clone()(
    sleep,
    top,
    CLONE_NEWUSER,
    Deno.UnsafePointer.create(BigInt(seconds)),
  );
  return unwrap(pid < 0 ? -E[0] : pid, "clone");
}

/** The kernel takes a map in one write. */
function write(path: string, text: string): void {
  const fd = open(path, O_WRONLY);
  try {
    unwrap(tryWrite(fd, encode(text)), "write", path);
  } finally {
    close(fd);
  }
}

/**
 * Runs `use` with this thread in a mount namespace of its own, a copy of the present one that shares
 * no changes with it, and then back in that. Paths and descriptors mean the same before and after.
 */
export function inOwnMountNamespace<T>(use: () => T): T {
  const fds: number[] = [];
  const keep = (path: string, flags: number) => {
    const fd = open(path, flags);
    fds.push(fd);
    return fd;
  };
  try {
    const before = keep("/proc/thread-self/ns/mnt", O_RDONLY);
    const root = keep("/", O_PATH | O_DIRECTORY), here = keep(".", O_PATH | O_DIRECTORY);
    unshareMountNamespace();
    try {
      return use();
    } finally {
      const result = namespaces.setns()(before, CLONE_NEWNS);
      unwrap(result < 0 ? -E[0] : result, "setns");
      // A root directory that was changed is lost by that.
      fchdir(root);
      chrootHere();
      fchdir(here);
    }
  } finally {
    for (const fd of fds) close(fd);
  }
}

/**
 * Runs `use` with file system ids of this thread that are not root's, and all of its capabilities:
 * what it makes belongs to these.
 */
export function withFileIds<T>(uid: number, gid: number, use: () => T): T {
  const bits = namespaces.prctl()(PR_GET_SECUREBITS, 0n, 0n, 0n, 0n);
  unwrap(bits < 0 ? -E[0] : bits, "prctl");
  // Or else some of the capabilities would go with root's id.
  setSecureBits(bits | SECBIT_NO_SETUID_FIXUP);
  const oldUid = namespaces.setfsuid()(uid), oldGid = namespaces.setfsgid()(gid);
  try {
    return use();
  } finally {
    namespaces.setfsuid()(oldUid);
    namespaces.setfsgid()(oldGid);
    setSecureBits(bits);
  }
}

function setSecureBits(bits: number): void {
  const result = namespaces.prctl()(PR_SET_SECUREBITS, BigInt(bits), 0n, 0n, 0n);
  unwrap(result < 0 ? -E[0] : result, "prctl");
}
