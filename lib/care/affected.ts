/**
 * What stands on damaged layers: the layers above, and Docker's images and containers.
 *
 * @module
 */
import type { DockerRecords } from "./docker_records.ts";
import type { Broken } from "./finding.ts";
import type { Parents } from "./structure.ts";

/** How many of each kind are named; a base layer may have thousands above. */
export const MOST_NAMED = 100;

const NOTHING: Broken = { layers: [], containers: [], images: [] };

/** Answers for the layers of one store. */
export class Affected {
  readonly #children = new Map<string, string[]>();

  /** @param shown the name of a layer for users: of a snapshot its key or name */
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

  /** What a layer's damage breaks; nothing for damage that is of no layer. */
  by(layer: string | undefined): Broken {
    if (layer === undefined) return NOTHING;
    const layers = new Set([layer]);
    // A set grows while it is walked, and a circle ends where it began.
    for (const id of layers) this.#children.get(id)?.forEach((child) => layers.add(child));
    const containers = new Set<string>(), images = new Set<string>();
    for (const { layer, container, chain } of this.docker?.uses ?? []) {
      if (!layers.has(layer)) continue;
      if (container !== undefined) containers.add(container);
      for (const image of this.docker!.images.get(chain ?? "") ?? []) images.add(image);
    }
    const some = (names: Iterable<string>) => [...names].slice(0, MOST_NAMED);
    return {
      // What no record knows breaks nothing by itself.
      layers: some(layers).filter((id) => this.parents.has(id)).map(this.shown),
      containers: some(containers),
      images: some(images),
    };
  }
}
