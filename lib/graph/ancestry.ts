/**
 * Chains of recorded parents.
 *
 * A damaged or planted record may name the layer itself or one of its descendants. Such layers
 * count as layers without a parent and as nobody else's children, so each of them can be removed.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { isId } from "../base/ids.ts";

/** The parents of a store's layers, each read once. */
export class Ancestry {
  readonly #parents = new Map<string, string | undefined>();
  /** Whether the layer is its own ancestor. */
  readonly #circular = new Map<string, boolean>();

  /** @param read returns a layer's recorded parent; may throw */
  constructor(readonly read: (id: string) => string | undefined) {}

  /**
   * The parent of a layer; `""` for none, `undefined` if it is not recorded.
   *
   * @throws {VeneerError} `corrupt store` if the layer is its own ancestor
   */
  parent(id: string): string | undefined {
    const parent = this.#recorded(id);
    if (parent && this.#isCircular(id)) throw circular(id, parent);
    return parent;
  }

  #recorded(id: string): string | undefined {
    if (!this.#parents.has(id)) this.#parents.set(id, this.read(id));
    return this.#parents.get(id);
  }

  #isCircular(id: string): boolean {
    const chain = new Set<string>();
    let next: string | undefined = id;
    while (next && !chain.has(next) && !this.#circular.has(next)) {
      chain.add(next);
      next = this.#tryRecorded(next);
    }
    const closed = next !== undefined && chain.has(next);
    let within = false;
    for (const link of chain) {
      within ||= closed && link === next;
      this.#circular.set(link, within);
    }
    return this.#circular.get(id)!;
  }

  /**
   * A record that cannot be read or is not an id ends the chain: it may hold anything, such as a
   * path.
   */
  #tryRecorded(id: string): string | undefined {
    try {
      const parent = this.#recorded(id);
      return parent !== undefined && isId(parent) ? parent : undefined;
    } catch {
      return undefined;
    }
  }
}

/** The error for a layer whose records of parents lead back to it. */
function circular(id: string, parent: string): VeneerError {
  const how = parent === id ? "" : `, which stands on ${id}`;
  return new VeneerError(
    "corrupt store",
    `layer ${id} is recorded to stand on ${parent === id ? "itself" : parent}${how}; remove it`,
  );
}
