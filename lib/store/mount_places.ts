/**
 * Where layers are mounted: at the place that the driver's layout has for each, or, while Docker's
 * daemon runs on the store, below `/run/veneer`.
 *
 * The daemon's drivers use the same places. If the daemon finds a mount at one, it counts the mount
 * as its own, and still does after Veneer has taken it down: until a restart it then fails to read
 * the layer. And if it finds a read-only mount, its containers cannot write to the layer.
 *
 * @module
 */
import { type ConfinedPath, exists } from "../tree/confined.ts";
import { isMountPoint } from "../mount/mountinfo.ts";
import type { Home } from "./home.ts";
import { mountsBeside } from "./run_root.ts";
import type { RunState } from "./run_state.ts";

/** The places of one home's layers. */
export class MountPlaces {
  readonly #chosen = new Map<string, ConfinedPath>();
  #directory: ConfinedPath | undefined;
  #isUsed: boolean | undefined;
  #isBeside: boolean | undefined;

  /** @param isDaemonThere whether Docker's daemon runs on the store; asked once */
  constructor(
    readonly home: Home,
    readonly state: RunState,
    readonly isDaemonThere: () => boolean,
  ) {}

  /**
   * The place where a layer is mounted, or is to be mounted: that of its record, or that of a mount
   * by another program. A place beside the home, once returned for a layer, does not change.
   *
   * @param usual the place that the layout has for it
   */
  of(id: string, usual: ConfinedPath): ConfinedPath {
    const chosen = this.#chosen.get(id);
    if (chosen !== undefined) return chosen;
    const target = this.#wasUsed() ? this.state.references(id).target : "";
    if (target === "") {
      this.#isBeside ??= this.isDaemonThere();
      if (!this.#isBeside || isMountPoint(usual.text)) return usual;
    }
    const beside = this.#beside(id);
    if (target !== "" && target !== beside.text) return usual;
    this.#chosen.set(id, beside);
    return beside;
  }

  #beside(id: string): ConfinedPath {
    this.#directory ??= mountsBeside(this.home);
    return this.#directory.join(id);
  }

  /** Chooses the place beside the home for the next mount of a layer. */
  chooseBeside(id: string): void {
    this.#chosen.set(id, this.#beside(id));
  }

  /** Whether a layer's place was chosen beside the home. */
  isBeside(id: string): boolean {
    return this.#chosen.has(id);
  }

  /**
   * Whether any layer of the home was ever mounted beside it: only then its record has to be read.
   */
  #wasUsed(): boolean {
    return this.#isUsed ??= exists(this.state.path("mounts"));
  }
}
