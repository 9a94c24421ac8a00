/**
 * Removes each layer or snapshot that the operands name, and continues after a failure.
 *
 * @module
 */
import type { CommandContext } from "./context.ts";

/** More of a result than the removed names: values of its JSON object, and lines of text. */
export interface MoreResult {
  readonly values: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

/**
 * Returns the exit status, which is that of the first failure.
 *
 * @param more called at the end
 */
export function removeEach(
  { operands, output }: CommandContext,
  remove: (name: string) => void,
  more: () => MoreResult = () => ({ values: {}, lines: [] }),
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
  const { values, lines } = more();
  output.result({ removed, ...values }, () => lines);
  return status;
}
