/**
 * The checks with which operations on layers begin: locks, existence, completeness, id maps.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { IdMaps } from "../base/id_maps.ts";
import { checkId, layerNotFound } from "../base/ids.ts";
import type { Home } from "../store/home.ts";
import { reconcile, recordedIdMaps } from "../store/id_map_records.ts";
import type { LayerLock } from "../store/layer_lock.ts";
import type { RunState } from "../store/run_state.ts";
import { Ancestry } from "./ancestry.ts";
import type { LayerBackend } from "./backend.ts";
import { parentsByDocker } from "./docker_parents.ts";
import type { ParentArgument } from "./driver.ts";
import type { Staged } from "./staged.ts";

/** The layers of one store. */
export class Layers {
  constructor(
    readonly backend: LayerBackend,
    readonly state: RunState,
    readonly staged: Staged,
  ) {}

  get home(): Home {
    return this.backend.home;
  }

  /** Runs `use` with the home and its run-time state opened once for all calls in it. */
  hold<T>(use: () => T): T {
    return this.home.root.hold(() => this.state.hold(use));
  }

  /** Locks a layer, and finishes a creation or removal of this id that was killed. */
  lock(id: string): LayerLock {
    const lock = this.state.lockLayer(id);
    if (this.home.isStaged(id)) this.staged.finish(id);
    return lock;
  }

  /** @throws {VeneerError} `not found`, `invalid argument` for an invalid id */
  require(id: string): void {
    checkId(id);
    if (!this.backend.exists(id)) throw layerNotFound(id);
  }

  /** @throws {VeneerError} `failed precondition` if an apply to the layer failed or was killed */
  requireComplete(id: string): void {
    if (this.home.isIncomplete(id)) {
      throw new VeneerError(
        "failed precondition",
        `layer ${id} is incomplete: a tar was not applied to its end; apply again or remove it`,
      );
    }
  }

  /** @throws {VeneerError} if layers can only be read, with the obstacle */
  requireWritable(): void {
    this.home.requireWritable();
    this.backend.requireSole?.();
  }

  /** The parents that Veneer or the driver's layout records. */
  recordedAncestry(): Ancestry {
    return new Ancestry((id) => this.backend.parent(id));
  }

  /** The same with those that Docker's own records tell, for showing and comparing layers. */
  ancestry(): Ancestry {
    let byDocker: ReadonlyMap<string, string> | undefined;
    return new Ancestry((id) => {
      const parent = this.backend.parent(id);
      if (parent !== undefined) return parent;
      return (byDocker ??= parentsByDocker(this.home.path)).get(id);
    });
  }

  /** The parent that an argument names, checked; `""` for none. */
  parent(id: string, parent: ParentArgument, ancestry = this.ancestry()): string {
    const base = parent ?? ancestry.parent(id);
    if (base === undefined) {
      throw new VeneerError(
        "invalid argument",
        `layer ${id} has no recorded parent, and none is named`,
        { remedy: { kind: "name parent" } },
      );
    }
    if (base !== "") {
      this.require(base);
      this.requireComplete(base);
    }
    return base;
  }

  /**
   * The id maps of a layer.
   *
   * @throws {VeneerError} `invalid argument` if the store was opened with others
   */
  idMaps(id: string): IdMaps {
    return reconcile(id, recordedIdMaps(this.home, id), this.backend.idMaps);
  }
}
