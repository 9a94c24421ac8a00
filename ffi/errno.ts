/**
 * Error numbers of Linux and the error a failing system call throws.
 *
 * @module
 */

/**
 * Names by number: `asm-generic/errno-base.h` and `asm-generic/errno.h` (x86_64 and aarch64 share
 * them).
 */
const NAMES: readonly (string | undefined)[] = (
  "- EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY " +
  "EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK " +
  "EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT " +
  "EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME " +
  "ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ " +
  "EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK " +
  "EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT " +
  "EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN " +
  "ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE " +
  "EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED " +
  "EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON"
).split(" ").map((name) => name === "-" ? undefined : name);

/** `"ENOENT"` for 2; `"E<number>"` for a number without a name. */
export function errnoName(errno: number): string {
  return NAMES[errno] ?? `E${errno}`;
}

/** Every named error number, for the golden test. */
export function* errnoEntries(): Generator<[name: string, errno: number]> {
  for (const [errno, name] of NAMES.entries()) if (name) yield [name, errno];
}

// The numbers that callers tell apart.
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const ENXIO = 6;
export const EINTR = 4;
export const EIO = 5;
export const E2BIG = 7;
export const EBADF = 9;
export const EAGAIN = 11;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const EXDEV = 18;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const EMFILE = 24;
export const ENOTTY = 25;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EROFS = 30;
export const EMLINK = 31;
export const EPIPE = 32;
export const ERANGE = 34;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const ENOTEMPTY = 39;
export const ELOOP = 40;
export const ENODATA = 61;
export const EOVERFLOW = 75;
export const EOPNOTSUPP = 95;
export const ENOTCONN = 107;
export const EINPROGRESS = 115;
export const ESTALE = 116;
export const EDQUOT = 122;

/** The meaning of each common error, in an administrator's words: `strerror(3)`, shortened. */
const MEANINGS: Readonly<Record<number, string>> = {
  [EPERM]: "operation not permitted",
  [ENOENT]: "no such file or directory",
  [EIO]: "input/output error",
  [E2BIG]: "list or value too long",
  [EBADF]: "bad file descriptor",
  12: "out of memory",
  [EACCES]: "permission denied",
  [EBUSY]: "device or resource busy",
  [EEXIST]: "file exists",
  [EXDEV]: "across file systems",
  [ENODEV]: "no such device or file system type",
  [ENOTDIR]: "not a directory",
  [EISDIR]: "is a directory",
  [EINVAL]: "invalid argument",
  [EMFILE]: "too many open files",
  [ENOTTY]: "not supported by this file",
  [EFBIG]: "file too large",
  [ENOSPC]: "no space left on device",
  [EROFS]: "read-only file system",
  [EMLINK]: "too many links",
  32: "broken pipe",
  [ERANGE]: "result too large",
  [ENAMETOOLONG]: "name too long",
  [ENOSYS]: "not implemented by this kernel",
  [ENOTEMPTY]: "directory not empty",
  [ELOOP]: "too many levels of symbolic links",
  [ENODATA]: "no data",
  [EOPNOTSUPP]: "operation not supported",
  [ESTALE]: "stale file handle",
  117: "structure needs cleaning",
  [EDQUOT]: "disk quota exceeded",
};

/**
 * A system call that failed. `message` is one line: call, path, meaning, name.
 *
 * @example
 * ```ts no-eval
 * import { openDriver, SyscallError } from "@veneer/veneer";
 *
 * try {
 *   await openDriver({ root: "/proc/layers" });
 * } catch (error) {
 *   if (error instanceof SyscallError) console.error(error.syscall, error.code, error.path);
 * }
 * ```
 */
export class SyscallError extends Error {
  /** The name of the class. */
  override readonly name = "SyscallError";
  /** The error's name, such as `"EBUSY"`. */
  readonly code: string;

  /**
   * Creates an error.
   *
   * @param syscall the call's name, such as `"openat"`
   * @param errno its positive error number
   * @param path the call's object, if that helps
   * @param detail the kernel's own message, if there is one
   */
  constructor(
    /** The call's name, such as `"openat"`. */
    readonly syscall: string,
    /** Its positive error number. */
    readonly errno: number,
    /** The call's object, if that helps. */
    readonly path?: string,
    detail = "",
  ) {
    const code = errnoName(errno);
    const what = path === undefined ? syscall : `${syscall} ${path}`;
    super(`${what}: ${MEANINGS[errno] ?? "failed"} (${code})${detail && `: ${detail}`}`);
    this.code = code;
  }
}
