/**
 * Descriptions of a store's layers: of all at once, and of one.
 *
 * @module
 */
import { attempt, messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import { isMountPoint } from "../mount/mountinfo.ts";
import type { LayerInfo } from "./driver.ts";
import type { Layers } from "./layers.ts";
import type { MountedLayers } from "./mounted_layers.ts";

/** Describes the layers of one store. Nothing is locked, so it may be a moment old. */
export class LayerListing {
  constructor(
    readonly layers: Layers,
    readonly mounted: MountedLayers,
    readonly warn: Warn,
  ) {}

  /** All layers, by their ids. A damaged one is a warning. */
  all(): LayerInfo[] {
    const { home, state } = this.layers;
    return home.root.hold(() => state.hold(() => this.#all()));
  }

  #all(): LayerInfo[] {
    const { layers, warn } = this, { backend, home } = layers;
    const ancestry = layers.ancestry();
    const incomplete = attempt(
      ({ message, remedy }) => warn(message, remedy),
      "marks of layers that are incomplete",
      () => home.incomplete(),
    ) ?? new Set();
    return backend.list().sort().flatMap((id) => {
      try {
        return this.#describe(id, ancestry.parent(id), incomplete.has(id));
      } catch (error) {
        // The layer was removed after it was listed, and its parent after it; or it is damaged, and
        // the others are still listed.
        if (!backend.exists(id)) return [];
        warn(`the parent of layer ${id} cannot be determined: ${messageOf(error)}`);
        return this.#describe(id, undefined, incomplete.has(id));
      }
    });
  }

  /** @throws {VeneerError} `not found`; `corrupt store` if the parent cannot be determined */
  one(id: string): LayerInfo {
    const { layers } = this;
    layers.require(id);
    return this.#describe(id, layers.ancestry().parent(id), layers.home.isIncomplete(id));
  }

  #describe(id: string, parent: string | undefined, incomplete: boolean): LayerInfo {
    const { backend, state } = this.layers, mountPoint = backend.mountPoint(id);
    return {
      id,
      parent,
      incomplete,
      references: this.mounted.confirmed(id, state.references(id)).count,
      mountPoint: isMountPoint(mountPoint) ? mountPoint : undefined,
    };
  }
}
