/**
 * How much the symbolic links of a tar may add to its paths, all in all.
 *
 * A path's own bytes are in the tar, so the work for them is bounded by its length. A link is
 * written once and followed by any number of entries: one of 4 KB makes 2000 directories at each of
 * its hard links, and lengthens every real path below it. So the components that links add count
 * against a budget that grows with the tar.
 *
 * The count depends on the paths alone, not on misses of a cache or on existing directories, so the
 * same tar is always accepted or always refused. Layers of distributions stay far below, with
 * `/bin` a link to `usr/bin`.
 *
 * @module
 */
import { encode } from "../../../ffi/cstring.ts";
import { PathError } from "../read/layer_path.ts";
import type { Way } from "./walk.ts";

/** The budget of every tar, in components: four times the limit for the links of one path. */
const ALLOWANCE = 8 << 10;
/** So many bytes of tar pay for one component, or for as many bytes of a real path. */
const BYTES_PER_COMPONENT = 8;

/**
 * The cost of the links of a path, in components: those of their targets or, if that is more, the
 * bytes by which the real path is longer.
 */
export function costOf(path: string, way: Way): number {
  const longer = encode(way.path).length - encode(path).length;
  return Math.max(way.added, Math.ceil(longer / BYTES_PER_COMPONENT));
}

/** The budget of one tar. */
export class LinkBudget {
  #spent = 0;

  /**
   * Spends the cost of one path.
   *
   * @param cost in components
   * @param offset how far the tar is read, in bytes
   * @throws {PathError} if the tar has not paid for so much
   */
  spend(cost: number, offset: number): void {
    this.#spent += cost;
    if (this.#spent <= ALLOWANCE + offset / BYTES_PER_COMPONENT) return;
    throw new PathError(
      "its paths lead through links to too many directories",
    );
  }
}
