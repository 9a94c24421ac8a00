/**
 * Becoming another program: the root directory, the ids and the program of a process.
 *
 * @module
 */
import { cstring } from "./cstring.ts";
import { becoming, E } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

/** `SIGPIPE` of `signal(7)`. */
const SIGPIPE = 13;
/** `CLOSE_RANGE_CLOEXEC` of `linux/close_range.h`. */
const CLOSE_RANGE_CLOEXEC = 4;
/** `UINT_MAX` of `limits.h`: no descriptor has a higher number. */
const UINT_MAX = 0xffff_ffff;

const result = (value: number) => value < 0 ? -E[0] : value;

/** `chroot(2)` to the working directory, for this thread (see `unshareFsContext`). */
export function chrootHere(): void {
  unwrap(result(becoming.chroot()(cstring("."))), "chroot");
}

/** `chdir(2)`, for this thread. @throws {SyscallError} if the path is not a directory */
export function chdir(path: string): void {
  unwrap(result(becoming.chdir()(cstring(path))), "chdir", path);
}

/** Becomes a user of one group alone, without a way back. */
export function setIds(uid: number, gid: number): void {
  unwrap(result(becoming.setgroups()(0n, null)), "setgroups");
  unwrap(result(becoming.setresgid()(gid, gid, gid)), "setresgid");
  unwrap(result(becoming.setresuid()(uid, uid, uid)), "setresuid");
}

/** Gives SIGPIPE its default again, which ends a program; the runtime ignores it. */
export function restoreSigpipe(): void {
  becoming.signal()(SIGPIPE, null);
}

/** Closes all descriptors but the standard ones when this process becomes another program. */
export function closeAtExec(): void {
  unwrap(result(becoming.close_range()(3, UINT_MAX, CLOSE_RANGE_CLOEXEC)), "close_range");
}

/**
 * `execve(2)`, raw: `-errno`. There is no return if it succeeds: other threads end, and the calling
 * one's root, working directory and mount namespace are the program's.
 */
export function tryExecve(
  path: string,
  args: readonly string[],
  environment: readonly string[],
): number {
  const argv = new Texts(args), envp = new Texts(environment);
  return result(becoming.execve()(cstring(path), argv.pointers, envp.pointers));
}

/** An array of pointers to C strings with a null behind the last; the strings live as long. */
class Texts {
  readonly pointers: BigUint64Array<ArrayBuffer>;
  readonly texts: readonly Uint8Array<ArrayBuffer>[];

  constructor(texts: readonly string[]) {
    this.texts = texts.map((text) => cstring(text));
    this.pointers = new BigUint64Array(texts.length + 1);
    for (const [i, text] of this.texts.entries()) {
      this.pointers[i] = Deno.UnsafePointer.value(Deno.UnsafePointer.of(text));
    }
  }
}
