/**
 * How much the symbolic links of a tar may add to its paths, all in all.
 *
 * A path's own bytes are in the tar, so what they ask for is paid for. A link is written once and followed by
 * any number of entries: one of 4 KB makes 2000 directories wherever it is hard-linked to, and lengthens every
 * real path below it. So what links add counts against a budget that grows with the tar.
 *
 * Counted is what the paths say, never what a cache has missed or the system has made: the same tar is always
 * taken or always refused. Layers of distributions stay far below, where `/bin` is a link to `usr/bin`.
 *
 * @module
 */
import { encode } from "../../../ffi/cstring.ts";
import { PathError } from "../read/layer_path.ts";
import type { Way } from "./walk.ts";

/** What every tar may spend, in components: four times what the links of one path may add. */
const ALLOWANCE = 8 << 10;
/** So many bytes of tar pay for one component, or for as many bytes of a real path. */
const BYTES_PER_COMPONENT = 8;

/**
 * What links add to a path, in components: those of their targets, or the bytes by which the real
 * path is longer if these weigh more.
 */
export function costOf(path: string, way: Way): number {
  const longer = encode(way.path).length - encode(path).length;
  return Math.max(way.added, Math.ceil(longer / BYTES_PER_COMPONENT));
}

/** The budget of one tar. */
export class LinkBudget {
  #spent = 0;

  /**
   * Takes what one path costs.
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
