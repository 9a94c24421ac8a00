/**
 * The failure of an apply, after which its target is incomplete.
 *
 * @module
 */
import { codeOf, messageOf, remedyOf, VeneerError } from "../../base/errors.ts";

/** The failure of an apply; its cause is the error without its target's state. */
class IncompleteError extends VeneerError {}

/** The error of a failed apply without its target's state, for callers that remove the target. */
export function reasonOfFailure(error: unknown): unknown {
  return error instanceof IncompleteError ? error.cause : error;
}

/**
 * The error of a failed apply, with the state of its target and the remedy.
 *
 * @param target as the message names it, such as `"layer app"`
 */
export function incompleteError(target: string, error: unknown): VeneerError {
  const code = codeOf(error);
  const remedy = code === "limit exceeded" ? "make room, then apply again" : "apply again";
  return new IncompleteError(
    code,
    `${messageOf(error)}; ${target} is incomplete: ${remedy} or remove it`,
    { remedy: remedyOf(error), cause: error },
  );
}
