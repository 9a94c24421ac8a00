/**
 * Errors with stable codes, which the command line maps to exit statuses and the services to HTTP
 * and gRPC statuses. A message is one line.
 *
 * @module
 */
import type { Remedy } from "./remedy.ts";
import { EDQUOT, EMFILE, ENOSPC, EROFS, SyscallError } from "../../ffi/errno.ts";

/**
 * Each kind of error:
 * - `failed`: a system call failed; the message names the call, the path and the error;
 * - `usage`: the command line is wrong;
 * - `not found`: a layer, a parent or a snapshot does not exist;
 * - `already exists`;
 * - `in use`: the message names the holder, such as a mount point, a process or a child;
 * - `not supported`: the message names the missing kernel option, module, file system or mount
 *   option;
 * - `invalid argument`: the message names the argument and the rule;
 * - `failed precondition`: such as a view committed, an incomplete layer mounted, an active parent;
 * - `incompatible`: the message names the state that was found and the required one;
 * - `corrupt store`: the message names the file;
 * - `limit exceeded`: the message names the limit, which may be space or a quota.
 */
export type ErrorCode =
  | "failed"
  | "usage"
  | "not found"
  | "already exists"
  | "in use"
  | "not supported"
  | "invalid argument"
  | "failed precondition"
  | "incompatible"
  | "corrupt store"
  | "limit exceeded";

/** The parts of an error besides its code and message. */
export interface VeneerErrorOptions extends ErrorOptions {
  /** An act on the store that would help. The message does not repeat it. */
  readonly remedy?: Remedy;
}

/**
 * An error of this program's own finding. The message names the thing, the reason and the rule.
 *
 * @example
 * ```ts no-eval
 * import { openDriver, VeneerError } from "@veneer/veneer";
 *
 * using layers = await openDriver();
 * try {
 *   layers.remove("base");
 * } catch (error) {
 *   if (!(error instanceof VeneerError && error.code === "not found")) throw error;
 * }
 * ```
 */
export class VeneerError extends Error {
  /** The name of the class. */
  override readonly name = "VeneerError";
  /** See {@linkcode VeneerErrorOptions.remedy}. */
  readonly remedy: Remedy | undefined;

  /**
   * Creates an error.
   *
   * @param code the kind of error
   * @param message one line
   */
  constructor(
    /** The kind of error. */
    readonly code: ErrorCode,
    message: string,
    options: VeneerErrorOptions = {},
  ) {
    super(message, options);
    this.remedy = options.remedy;
  }
}

/**
 * The code of any error. Of foreign ones, no space, a quota and too many open files are limits, a
 * read-only file system is a precondition that fails; others are `failed`.
 *
 * @example
 * ```ts no-eval
 * import { codeOf, openDriver } from "@veneer/veneer";
 *
 * using layers = await openDriver();
 * try {
 *   layers.applyDiff("app", undefined, "app.tar");
 * } catch (error) {
 *   if (codeOf(error) === "limit exceeded") console.error("make room and try again");
 *   throw error;
 * }
 * ```
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

/** An error's message on one line, without its remedy. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s*\n\s*/g, " ").trim();
}

/** The remedy of an error that has one. */
export function remedyOf(error: unknown): Remedy | undefined {
  return error instanceof VeneerError ? error.remedy : undefined;
}

/**
 * An error of the same code with another message, keeping the remedy.
 *
 * @param error becomes the cause
 */
export function reworded(error: unknown, message: string): VeneerError {
  return new VeneerError(codeOf(error), message, { remedy: remedyOf(error), cause: error });
}

/**
 * Runs one of several independent parts; after its failure the others are still run.
 *
 * @param failed gets the error
 * @param what the name of the part, for the message
 */
export function attempt<T>(
  failed: (error: VeneerError) => void,
  what: string,
  part: () => T,
): T | undefined {
  try {
    return part();
  } catch (error) {
    failed(reworded(error, `${what}: ${messageOf(error)}`));
    return undefined;
  }
}
