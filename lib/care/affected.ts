/**
 * Finds the users of damaged layers: the layers above, and Docker's images and containers.
 *
 * @module
 */
import type { DockerRecords } from "./docker_records.ts";
import type { Broken } from "./finding.ts";
import type { Parents } from "./structure.ts";

/** The most names of each kind; a base layer may have thousands of layers above. */
export const MOST_NAMED = 100;

const NOTHING: Broken = { layers: [], containers: [], images: [] };

/** The users of the layers of one store. */
export class Affected {
  readonly #children = new Map<string, string[]>();

  /** @param shown returns a layer's name for users: for a snapshot's layer its key or name */
  constructor(
    readonly parents: Parents,
    readonly docker: DockerRecords | undefined,
    readonly shown: (layer: string) => string = (layer) => layer,
  ) {
    for (const [id, parent] of parents) {
      if (!parent) continue;
      const others = this.#children.get(parent);
      if (others === undefined) this.#children.set(parent, [id]);
      else others.push(id);
    }
  }

  /** What a layer's damage breaks. Damage outside of layers breaks nothing. */
  by(layer: string | undefined): Broken {
    if (layer === undefined) return NOTHING;
    const layers = new Set([layer]);
    // The loop also visits what is added meanwhile; a set holds each layer once, so a cycle ends.
    for (const id of layers) this.#children.get(id)?.forEach((child) => layers.add(child));
    const containers = new Set<string>(), images = new Set<string>();
    for (const { layer, container, chain } of this.docker?.uses ?? []) {
      if (!layers.has(layer)) continue;
      if (container !== undefined) containers.add(container);
      for (const image of this.docker!.images.get(chain ?? "") ?? []) images.add(image);
    }
    const some = (names: Iterable<string>) => [...names].slice(0, MOST_NAMED);
    return {
      // Names that are no layer in any record are left out.
      layers: some(layers).filter((id) => this.parents.has(id)).map(this.shown),
      containers: some(containers),
      images: some(images),
    };
  }
}
