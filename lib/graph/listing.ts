/**
 * Descriptions of a store's layers: of all at once, and of one.
 *
 * @module
 */
import { attempt, messageOf } from "../base/errors.ts";
import { type Warn, warningOf } from "../base/warn.ts";
import { isMountPoint } from "../mount/mountinfo.ts";
import type { LayerInfo } from "./driver.ts";
import type { Layers } from "./layers.ts";
import { UNUSED } from "../store/mount_record.ts";
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
    return this.layers.hold(() => this.#all());
  }

  #all(): LayerInfo[] {
    const { layers, warn } = this, { backend, home } = layers;
    const ancestry = layers.ancestry();
    const incomplete = attempt(
      warningOf(warn),
      "marks of layers that are incomplete",
      () => home.incomplete(),
    ) ?? new Set();
    // Most layers have no such file; each would be looked for in vain.
    const counted = attempt(
      warningOf(warn),
      "counts of the uses of layers",
      () => new Set(layers.state.lockedLayers()),
    );
    const describe = (id: string, parent: string | undefined) =>
      this.#describe(id, parent, incomplete.has(id), counted?.has(id));
    return backend.list().sort().flatMap((id) => {
      try {
        return describe(id, ancestry.parent(id));
      } catch (error) {
        // The layer was removed after it was listed, and its parent after it; or it is damaged, and
        // the others are still listed.
        if (!backend.exists(id)) return [];
        warn(`the parent of layer ${id} cannot be determined: ${messageOf(error)}`);
        return describe(id, undefined);
      }
    });
  }

  /** @throws {VeneerError} `not found`; `corrupt store` if the parent cannot be determined */
  one(id: string): LayerInfo {
    const { layers } = this;
    layers.require(id);
    return this.#describe(id, layers.ancestry().parent(id), layers.home.isIncomplete(id));
  }

  /** @param isCounted whether it may have references */
  #describe(
    id: string,
    parent: string | undefined,
    incomplete: boolean,
    isCounted = true,
  ): LayerInfo {
    const { backend, state } = this.layers, mountPoint = backend.mountPoint(id);
    const references = isCounted ? state.references(id) : UNUSED;
    return {
      id,
      parent,
      incomplete,
      references: this.mounted.confirmed(id, references).count,
      mountPoint: isMountPoint(mountPoint) ? mountPoint : undefined,
    };
  }
}
