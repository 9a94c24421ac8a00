/**
 * Mounts a graph's layers.
 *
 * A mount of more layers than one call takes is made by several calls. Meanwhile the home has a
 * mark, so that the incomplete mount of a killed process is recognised.
 *
 * @module
 */
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { type ConfinedPath, exists, refuseLinks, tryUnlink } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { GetOptions } from "../../lib/graph/driver.ts";
import { idMapsOf } from "../../lib/store/id_map_records.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { makeOwned } from "../union/layer_root.ts";
import { checkLabel } from "../union/mount_label.ts";
import { bindReadOnly, type Mount, type MountPlan, type MountStep } from "../../lib/mount/plan.ts";
import { checkKnown } from "../../lib/base/options.ts";
import { AufsMounts, type Remedies } from "./aufs_mounts.ts";
import type { AufsEnvironment } from "./environment.ts";
import type { Layout } from "./layout.ts";
import type { OwnDirectory } from "./mending.ts";
import type { Branches } from "./mount_data.ts";
import { WITHOUT_MOUNT } from "./support.ts";

const REMEDIES: Remedies = {
  join: { kind: "join", of: "layers" },
  withoutMount: WITHOUT_MOUNT,
};

/** Makes a layer's mount point, as Docker does. */
export function makeMountPoint(path: ConfinedPath, { uids, gids }: IdMaps): void {
  makeOwned(path, 0o755, uids.root, gids.root);
}

export class Mounting {
  readonly #layout: Layout;
  readonly #mounts: AufsMounts;

  constructor(layout: Layout, readonly idMaps: IdMaps, environment: AufsEnvironment) {
    this.#layout = layout;
    this.#mounts = new AufsMounts(layout.home, environment, REMEDIES);
  }

  /** Whether mounts are made with `dirperm1`; `undefined` if it is unknown. */
  mountsWithDirperm1(): boolean | undefined {
    return this.#mounts.hasDirperm1();
  }

  /** Refuses a new layer on more layers than this kernel mounts. */
  checkNewDepth(id: string, lowers: number): void {
    this.#mounts.checkNewDepth(id, lowers);
  }

  plan(id: string, options: GetOptions): MountPlan {
    const layout = this.#layout;
    const lowers = layout.chain(id) ?? [];
    const path = layout.mountPoint(id);
    if (lowers.length === 0) {
      layout.requireDiff(id);
      const root = layout.diff(id).text;
      return options.readOnly
        ? {
          path: path.text,
          steps: [this.#haveMountPoint(id, path), ...bindReadOnly(root, path.text)],
        }
        : { path: root, steps: [] };
    }
    const requireLayers = () => {
      layout.requireDiff(id);
      layout.ancestors(id);
    };
    const chain = this.#chain([id, ...lowers]);
    const details = { requireLayers, mark: layout.mounting(id), chain };
    const steps = this.#mounts.steps(this.#branches(id, lowers, options), path.text, details);
    return { path: path.text, steps: [this.#haveMountPoint(id, path, [id, ...lowers]), ...steps] };
  }

  /**
   * Creates the mount point if it is missing. It is part of the layout, so it stays after an
   * unmount. Links in place of layers are refused, because aufs would follow them.
   */
  #haveMountPoint(id: string, path: ConfinedPath, layers: readonly string[] = []): MountStep {
    const make = () => makeMountPoint(path, idMapsOf(this.#layout.home, id, this.idMaps));
    return {
      kind: "prepare",
      name: "have a place to mount on",
      perform: () => {
        for (const layer of layers) refuseLinks(this.#layout.diff(layer));
        if (!exists(path)) make();
      },
      // Removing the directory also ends copies of the mount in other namespaces.
      undo: () => {
        if (tryUnlink(path, AT_REMOVEDIR) === 0) make();
      },
    };
  }

  /** Makes the hard links permanent that exist only in the mount. */
  beforeUnmount(id: string): void {
    this.#mounts.beforeUnmount(
      { id, upper: this.#layout.diff(id).text },
      this.#layout.mountPoint(id).text,
    );
  }

  /** @throws {VeneerError} `limit exceeded` if one call does not take all layers */
  mounts(id: string, options: GetOptions): Mount[] {
    const lowers = this.#layout.ancestors(id);
    if (lowers.length === 0) {
      this.#layout.requireDiff(id);
      const source = this.#layout.diff(id).text;
      return [{ type: "bind", source, options: ["rbind", options.readOnly ? "ro" : "rw"] }];
    }
    refuseLinks(this.#layout.diff(id));
    const mounts = this.#mounts.mounts(this.#branches(id, lowers, options));
    if (mounts.length === 1) {
      this.#mounts.mending.beforeMount(this.#chain([id, ...lowers]), !options.readOnly);
      return mounts;
    }
    throw new VeneerError(
      "limit exceeded",
      `layer ${id} lies on ${lowers.length} layers, and ${
        lowers.length + 1 - mounts.length
      } fit into the options of one mount; use fewer layers, or let Veneer mount it`,
      { remedy: { kind: "mount", id } },
    );
  }

  /** Mends a layer after a tar was applied to its directory. */
  afterApply(id: string): void {
    const chain = this.#chain([id, ...this.#layout.ancestors(id)]);
    this.#mounts.mending.afterApply(chain);
  }

  /** Removes the mark of a deleted layer. */
  forget(id: string): void {
    this.#mounts.mending.forget(id);
  }

  #chain(ids: readonly string[]): OwnDirectory[] {
    return ids.map((id) => ({ id, path: this.#layout.diff(id).text }));
  }

  #branches(
    id: string,
    lowers: readonly string[],
    { label, readOnly = false, options = [] }: GetOptions,
  ): Branches {
    checkKnown(new Map(options.map((name) => [name, ""])), [], "an aufs mount");
    if (label) checkLabel(label);
    return {
      id,
      upper: this.#layout.diff(id).text,
      lowers: lowers.map((lower) => this.#layout.diff(lower).text),
      readOnly,
      label: label || undefined,
    };
  }
}
