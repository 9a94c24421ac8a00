/**
 * Restores the files of a layer, or of a committed snapshot, from its tar or from a copy of its
 * directory, in place. Layers on it are not changed.
 *
 * A tar is applied to a new layer on the same parent. This layer, or the copy, is compared with the
 * damaged layer, including the contents of files, and the entries that differ are replaced: see
 * `restoring.ts`. A layer that is a device is mounted for this attached nowhere, so the mount ends
 * with the process.
 *
 * If the layer has a record of its content, the source must agree with the record, and entries that
 * are not in the source are moved aside. Without a record they stay, since a container may have
 * made them.
 *
 * @module
 */
import { withFd } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { CONTENT } from "../store/content_records.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { holdToChange } from "../store/service_hold.ts";
import { type ConfinedPath, ConfinedRoot, openDirectory } from "../tree/confined.ts";
import { type CheckedStore, checkStore } from "./check.ts";
import { ContentComparison, isRecordOf } from "./content.ts";
import { readContent } from "./content_record.ts";
import type { Found } from "./finding.ts";
import { requireUnmounted } from "./layer_uses.ts";
import { Losses } from "./losses.ts";
import { Quarantine } from "./quarantine.ts";
import type { RestoredStore } from "./restored_store.ts";
import { type Restoration, Restoring } from "./restoring.ts";
import { homeOf, StoreView } from "./store_view.ts";

/** A layer to be restored. */
export interface RestoreRequest {
  readonly store: CheckedStore;
  /** The same store, open. */
  readonly layers: RestoredStore;
  /** The layer's id; for a snapshot, that of its layer. */
  readonly id: string;
  /**
   * A tar, open for reading, plain, gzip or zstd; or a directory with the layer's own files in the
   * form of its driver, such as the layer's directory in another store.
   */
  readonly source: number | ConfinedRoot;
  /** Only return what would be restored. */
  readonly isDry?: boolean;
}

/**
 * Restores a layer.
 *
 * @throws {VeneerError} `in use` if it, or a layer on it that shows its files, is mounted or
 * transferred; `invalid argument` if the files are those of another layer; `failed precondition`
 * for a snapshot that is not committed
 */
export function restoreLayer(request: RestoreRequest): Restoration {
  const { store, layers, id, source } = request;
  const home = Home.open(store.root, homeOf(store), IDENTITY);
  const state = new RunState(home);
  using _hold = holdToChange(state, home.path);
  using one = state.tryLockNamed("repair");
  if (one === undefined) throw new VeneerError("in use", `another repair works on ${home.path}`);
  layers.removeScratch();
  const restore = new Restore(request, home, state);
  if (typeof source !== "number") return restore.from(source.join());
  const scratch = layers.makeScratch(id, source);
  try {
    using opened = new DisposableStack();
    return restore.from(restore.files(scratch, opened, true));
  } finally {
    layers.removeScratch();
  }
}

/** The restoration of one layer. */
class Restore {
  constructor(
    readonly request: RestoreRequest,
    readonly home: Home,
    readonly state: RunState,
  ) {}

  /** Restores the layer from a directory with the right files. */
  from(right: ConfinedPath): Restoration {
    const { store, id, isDry = false } = this.request, { home, state } = this;
    using _lock = state.lockLayer(id);
    using _use = state.use(id, "exclusive");
    using view = StoreView.open(store.root, homeOf(store))!;
    this.#requireFamilyUnmounted(view);
    const hasRecord = this.#requireItsFiles(view, right);
    using opened = new DisposableStack();
    const damaged = this.files(id, opened, isDry);
    const place = damaged.root === home.root ? damaged.relative : id;
    const isSealed = store.checks?.contentOf?.(view, id, store.of).isSealed ?? false;
    return new Restoring({ right, damaged, place, hasRecord, isSealed }, new Quarantine(home))
      .run(id, isDry);
  }

  /**
   * The directory of a layer's files. `opened` unmounts it.
   *
   * @param isRead whether it is only read
   */
  files(id: string, opened: DisposableStack, isRead: boolean): ConfinedPath {
    const { store, layers } = this.request, { home } = this;
    const mounted = layers.open(id, opened, isRead);
    if (mounted !== undefined) {
      return ConfinedRoot.through(home.join("mnt", id).text, mounted).join();
    }
    using view = StoreView.open(store.root, homeOf(store))!;
    const content = store.checks?.contentOf?.(view, id, store.of);
    if (content !== undefined) return home.join(content.path.relative);
    throw new VeneerError(
      "not supported",
      `the files of layers of ${store.driver} cannot be opened`,
    );
  }

  /**
   * Throws if a mount shows the layer: its own mount, or one of a layer on it. An open device is
   * refused when it is opened.
   */
  #requireFamilyUnmounted(view: StoreView): void {
    const { store, id } = this.request, { checks, of } = store;
    if (checks?.contentOf === undefined) return;
    const { isWhole } = checks.contentOf(view, id, of);
    const family = isWhole ? [id] : new Losses(checkStore(store)!).on(id);
    const paths = family.flatMap((layer) => [...checks.pathsOf(view, layer, of)]);
    requireUnmounted(`layer ${id}, or one on it,`, this.home.path, new Set(paths));
  }

  /** Compares files with the layer's record; returns whether there is a record. */
  #requireItsFiles(view: StoreView, path: ConfinedPath): boolean {
    const { store, layers, id } = this.request;
    const record = view.own(CONTENT, id);
    if (!isRecordOf(record, layers.createdAt(id))) return false;
    const content = readContent(record);
    if (typeof content === "string") return false;
    const isWhole = store.checks?.contentOf?.(view, id, store.of).isWhole ?? true;
    const differences: Found[] = [];
    const report = (found: Found) => differences.push(found);
    using comparison = new ContentComparison(id, path, content, isWhole, report);
    withFd(openDirectory(path), (directory) => comparison.run(directory));
    const [first] = differences;
    if (first === undefined) return true;
    throw new VeneerError(
      "invalid argument",
      `the source is not what layer ${id} was made from: in that ${
        first.file.slice(path.text.length)
      } ${first.what}`,
    );
  }
}
