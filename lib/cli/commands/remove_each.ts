/**
 * Removes each layer or snapshot that the operands name, and continues after a failure.
 *
 * @module
 */
import type { CommandContext } from "./context.ts";

/** Returns the exit status, which is that of the first failure. */
export function removeEach(
  { operands, output }: CommandContext,
  remove: (name: string) => void,
): number {
  const removed: string[] = [];
  let status = 0;
  for (const name of operands) {
    try {
      remove(name);
      removed.push(name);
    } catch (error) {
      const failure = output.error(error);
      status ||= failure;
    }
  }
  output.result({ removed }, () => []);
  return status;
}
