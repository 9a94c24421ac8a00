/**
 * Gives up layers: a layer that cannot be mended is moved into the quarantine, with all layers on
 * it.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { CONTENT } from "../graph/content_format.ts";
import { Database } from "../snapshots/database.ts";
import { DATABASE } from "../snapshots/open_store.ts";
import { OWN, OWN_DIRECTORIES } from "../store/home.ts";
import type { RunState } from "../store/run_state.ts";
import { exists } from "../tree/confined.ts";
import type { Checked, CheckedStore } from "./check.ts";
import { requireUnmounted } from "./layer_uses.ts";
import type { Mender } from "./mender.ts";
import { StoreView } from "./store_view.ts";

/** The directories of Veneer's records in which a layer may have a record. */
const RECORDS = [...OWN_DIRECTORIES.filter((name) => name !== "staging"), CONTENT];

/** The layers of one store as a check found them, and those that were given up since. */
export class Losses {
  readonly #children = new Map<string, string[]>();
  readonly #lost = new Set<string>();

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
   * Moves a layer and all layers on it into the quarantine.
   *
   * @throws {VeneerError} `in use` if any of them is in use; then nothing was moved
   */
  lose(layer: string, store: CheckedStore, state: RunState, mender: Mender): void {
    const { driver, root, of, checks } = store;
    const { quarantine } = mender;
    // Children come first, so that after a kill no layer is without its parent.
    const ids = this.on(layer).filter((id) => !this.#lost.has(id)).reverse();
    using view = StoreView.open(root, of === "layers" ? driver : `snapshots/${driver}`)!;
    using locks = new DisposableStack();
    const moved = new Map<string, string[]>();
    for (const id of ids) {
      lock(id, state, locks);
      const own = RECORDS.map((directory) => `${OWN}/${directory}/${id}`);
      moved.set(
        id,
        [...checks?.pathsOf(view, id, of) ?? [], ...own].filter((path) => exists(view.join(path))),
      );
    }
    requireUnmounted(
      `layer ${layer}, or one on it,`,
      mender.home.path,
      new Set([...moved.values()].flat()),
    );
    for (const id of ids) {
      const { shown } = this.checked;
      quarantine.journal.lost.push({
        name: shown(id),
        because: shown(layer),
        moved: moved.get(id)!,
      });
    }
    quarantine.write();
    for (const id of ids) {
      for (const path of moved.get(id)!) mender.moveAside(path);
      this.#lost.add(id);
    }
    if (of === "snapshots") deleteRows(mender, ids);
    const parent = this.checked.parents.get(layer);
    if (!parent || this.#lost.has(parent)) return;
    if (this.#children.get(parent)?.some((id) => !this.#lost.has(id))) return;
    for (const step of checks?.stepsWithoutChildren?.(view, parent) ?? []) {
      if (step.do !== "lose" && step.do !== "rebuild") mender.perform(step);
    }
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
