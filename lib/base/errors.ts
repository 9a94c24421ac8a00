/**
 * Errors with stable codes: what the command line turns into an exit status and the services into HTTP and
 * gRPC statuses. A message is one line that names the thing, the reason and the remedy.
 *
 * @module
 */
import { EDQUOT, EMFILE, ENOSPC, EROFS, SyscallError } from "../../ffi/errno.ts";

/** Each kind of error and the exit status of a command that ends with it. */
export const EXIT_STATUS = {
  /** A system call failed; the message names the call, the path and the error. */
  "failed": 1,
  /** The command line is wrong. */
  "usage": 2,
  /** A layer, a parent, a snapshot. */
  "not found": 3,
  "already exists": 4,
  /** The message names the holder: a mount point, a process, a child. */
  "in use": 5,
  /** The message names what lacks: a kernel option, a module, a file system, a mount option. */
  "not supported": 6,
  /** The message names the argument and the rule. */
  "invalid argument": 7,
  /** A view committed, an incomplete layer mounted, an active parent. */
  "failed precondition": 8,
  /** The message names what was found and what is wanted. */
  "incompatible": 9,
  /** The message names the file. */
  "corrupt store": 10,
  /** The message names the limit and the remedy: also no space, quota. */
  "limit exceeded": 11,
} as const;

export type ErrorCode = keyof typeof EXIT_STATUS;

/** An error of this program's own finding. */
export class VeneerError extends Error {
  override readonly name = "VeneerError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The code of any error. Of foreign ones, no space, a quota and too many open files are limits, a read-only file system
 * is a precondition that fails; others are `failed`.
 */
export function codeOf(error: unknown): ErrorCode {
  if (error instanceof VeneerError) return error.code;
  if (
    error instanceof SyscallError &&
    (error.errno === ENOSPC || error.errno === EDQUOT || error.errno === EMFILE)
  ) return "limit exceeded";
  if (error instanceof SyscallError && error.errno === EROFS) return "failed precondition";
  return "failed";
}

/** An error's message on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s*\n\s*/g, " ").trim();
}

/**
 * Runs one part of something whose parts do not need each other: where it fails, the others go on.
 *
 * @param failed is told
 * @param what failed, for the message
 */
export function attempt<T>(
  failed: (error: VeneerError) => void,
  what: string,
  part: () => T,
): T | undefined {
  try {
    return part();
  } catch (error) {
    failed(new VeneerError(codeOf(error), `${what}: ${messageOf(error)}`, { cause: error }));
    return undefined;
  }
}
