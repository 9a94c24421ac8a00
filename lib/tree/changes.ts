/**
 * The changes of a layer against its parent.
 *
 * @module
 */
import { SLASH } from "../../ffi/cstring.ts";
import { escapePath } from "../base/printable.ts";

/**
 * `A` added, `C` changed (content, type, owner, mode, attributes, or something below a directory),
 * `D` deleted.
 */
export type ChangeKind = "A" | "C" | "D";

/** One changed entry. */
export interface Change {
  /** Added, changed or deleted. */
  readonly kind: ChangeKind;
  /**
   * From the layer's root, with a leading `/`, no trailing one. Bytes that are not UTF-8 are lone
   * surrogates U+DC80 to U+DCFF.
   */
  readonly path: string;
}

/**
 * A line of `veneer changes`: the kind, a space, the path with its control characters escaped.
 *
 * @example
 * ```ts no-eval
 * import { formatChange, openDriver } from "@veneer/veneer";
 *
 * using layers = await openDriver();
 * for (const change of layers.changes("app", undefined)) console.log(formatChange(change));
 * ```
 */
export function formatChange({ kind, path }: Change): string {
  return `${kind} ${escapePath(path)}`;
}

/**
 * The order in which changes and tar entries come: by path, component by component, so that a
 * directory comes right before its content and `a/b` before `a.b`. Negative if `a` comes first.
 */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i), right = b.charCodeAt(i);
    if (left === right) continue;
    if (left === SLASH) return -1;
    if (right === SLASH) return 1;
    return left - right;
  }
  return a.length - b.length;
}

/**
 * Changes, read one by one. The iterator disposes of itself after the last one, and if a loop over
 * it ends early.
 */
export type ChangeIterator = IteratorObject<Change, undefined> & Disposable;
