/**
 * Gives up layers: a layer that cannot be mended is moved into the quarantine, with all layers on
 * it.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { CONTENT } from "../store/content_records.ts";
import { Database } from "../snapshots/database.ts";
import { DATABASE } from "../snapshots/open_store.ts";
import { OWN, OWN_DIRECTORIES } from "../store/home.ts";
import type { RunState } from "../store/run_state.ts";
import { exists } from "../tree/confined.ts";
import type { Checked, CheckedStore } from "./check.ts";
import { requireUnmounted } from "./layer_uses.ts";
import type { Mender } from "./mender.ts";
import { homeOf, StoreView } from "./store_view.ts";

/** The directories of Veneer's records in which a layer may have a record. */
const RECORDS = [...OWN_DIRECTORIES.filter((name) => name !== "staging"), CONTENT];

/** The layers of one store as a check found them, and those that were given up since. */
export class Losses {
  readonly #children = new Map<string, string[]>();
  readonly #lost = new Set<string>();
  readonly #planned = new Set<string>();

  constructor(readonly checked: Checked) {
    for (const [id, parent] of checked.parents) {
      if (!parent) continue;
      const others = this.#children.get(parent);
      if (others === undefined) this.#children.set(parent, [id]);
      else others.push(id);
    }
  }

  isLost(layer: string): boolean {
    return this.#lost.has(layer);
  }

  /** A layer and all layers on it; the layer itself comes first. */
  on(layer: string): string[] {
    const layers = new Set([layer]);
    // The loop also visits what is added meanwhile; a set holds each layer once, so a cycle ends.
    for (const id of layers) this.#children.get(id)?.forEach((child) => layers.add(child));
    return [...layers];
  }

  /**
   * Moves layers and all layers on them into the quarantine. The journal is written once for all of
   * them.
   *
   * @param failed gets the error for each layer that is in use; then neither it nor a layer on it
   * is moved
   */
  lose(
    layers: readonly string[],
    store: CheckedStore,
    state: RunState,
    mender: Mender,
    failed: (layer: string, error: VeneerError) => void,
  ): void {
    const { root, of } = store;
    using view = StoreView.open(root, homeOf(store))!;
    using locks = new DisposableStack();
    const plans = layers.flatMap((layer) => {
      if (this.#lost.has(layer)) return [];
      try {
        return [this.#plan(layer, view, store, state, locks)];
      } catch (error) {
        failed(layer, error as VeneerError);
        return [];
      }
    });
    const free = this.#whole(plans, unmounted(plans, mender.home.path, failed), failed);
    const { shown } = this.checked, { lost } = mender.quarantine.journal;
    for (const { layer, parts } of free) {
      for (const [id, moved] of parts) lost.push({ name: shown(id), because: shown(layer), moved });
    }
    mender.quarantine.write();
    for (const { parts } of free) {
      for (const [id, paths] of parts) {
        for (const path of paths) mender.moveAside(path);
        this.#lost.add(id);
      }
      if (of === "snapshots") deleteRows(mender, [...parts.keys()]);
    }
    for (const { layer } of free) this.#uncommitParent(layer, view, store, mender);
  }

  /**
   * Of the plans that are free, those without a layer below one that has to stay: a layer may have
   * been planned by itself before the one below it.
   */
  #whole(
    plans: readonly Plan[],
    free: readonly Plan[],
    failed: (layer: string, error: VeneerError) => void,
  ): readonly Plan[] {
    const staying = plans.filter((plan) => !free.includes(plan));
    if (staying.length === 0) return free;
    const kept = new Set(staying.flatMap(({ parts }) => [...parts.keys()]));
    return free.filter(({ layer }) => {
      const above = this.on(layer).find((id) => kept.has(id));
      if (above === undefined) return true;
      failed(layer, new VeneerError("in use", `layer ${above} on ${layer} is in use`));
      return false;
    });
  }

  /** @throws {VeneerError} `in use` */
  #plan(
    layer: string,
    view: StoreView,
    { of, checks }: CheckedStore,
    state: RunState,
    locks: DisposableStack,
  ): Plan {
    // Children come first, so that after a kill no layer is without its parent.
    const ids = this.on(layer).filter((id) => !this.#lost.has(id) && !this.#planned.has(id))
      .reverse();
    const parts = new Map<string, string[]>();
    for (const id of ids) {
      lock(id, state, locks);
      const own = RECORDS.map((directory) => `${OWN}/${directory}/${id}`);
      const paths = [...checks?.pathsOf(view, id, of) ?? [], ...own];
      parts.set(id, paths.filter((path) => exists(view.join(path))));
    }
    for (const id of ids) this.#planned.add(id);
    return { layer, parts };
  }

  #uncommitParent(layer: string, view: StoreView, { checks }: CheckedStore, mender: Mender): void {
    const parent = this.checked.parents.get(layer);
    if (!parent || this.#lost.has(parent)) return;
    if (this.#children.get(parent)?.some((id) => !this.#lost.has(id))) return;
    for (const step of checks?.stepsWithoutChildren?.(view, parent) ?? []) {
      if (step.do !== "lose" && step.do !== "rebuild") mender.perform(step);
    }
  }
}

/** A layer to be given up. */
interface Plan {
  readonly layer: string;
  /** The paths of the layer and of the layers on it, children first. */
  readonly parts: ReadonlyMap<string, readonly string[]>;
}

/**
 * Returns the plans whose layers are not mounted. All mounts are examined once for all plans. Only
 * if a layer is mounted, each plan is examined.
 */
function unmounted(
  plans: readonly Plan[],
  home: string,
  failed: (layer: string, error: VeneerError) => void,
): readonly Plan[] {
  const check = (plans: readonly Plan[], what: string) =>
    requireUnmounted(what, home, new Set(plans.flatMap(({ parts }) => [...parts.values()].flat())));
  try {
    check(plans, "a layer");
    return plans;
  } catch {
    return plans.filter((plan) => {
      try {
        check([plan], `layer ${plan.layer}, or one on it,`);
        return true;
      } catch (error) {
        failed(plan.layer, error as VeneerError);
        return false;
      }
    });
  }
}

/** @throws {VeneerError} `in use` */
function lock(id: string, state: RunState, locks: DisposableStack): void {
  const lock = state.tryLockLayer(id);
  if (lock === undefined || state.isTransferred(id)) {
    throw new VeneerError("in use", `another command works on layer ${id}; try again`);
  }
  locks.use(lock);
  const { count, target } = lock.references;
  // A count without a mount is a base layer's, which needs no mount.
  if (count > 0 && target === "") {
    throw new VeneerError("in use", `layer ${id} is in use`, {
      remedy: { kind: "umount", id },
    });
  }
}

/** Removes the rows of snapshots, children first, and of the images on them. */
function deleteRows({ home }: Mender, layers: readonly string[]): void {
  using database = Database.open(home.join(DATABASE), () => {});
  const id = "(SELECT id FROM snapshots WHERE layer = ?)";
  const statements = [
    `DELETE FROM images WHERE snapshot = ${id}`,
    `UPDATE intents SET name = NULL, parent = NULL WHERE parent = ${id}`,
    "DELETE FROM snapshots WHERE layer = ?",
  ].map((sql) => database.prepare(sql));
  database.transaction("on disk", () => {
    for (const layer of layers) for (const statement of statements) statement.run(layer);
  });
}
