/**
 * Records the present content of layers without a record, so that a later check can find changes.
 *
 * A layer is recorded only if nothing can change it meanwhile. So it must not be mounted, and in a
 * Docker store it must not belong to a container, because Docker mounts these without Veneer's
 * locks. Of snapshots only the committed ones are recorded, since they never change.
 *
 * @module
 */
import { type EntryName, nameText } from "../../ffi/entry_name.ts";
import { readEntries } from "../../ffi/directory.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { attempt, codeOf, type VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { contentRecord } from "../store/content_records.ts";
import { ContentLog } from "../graph/content_log.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { holdToChange } from "../store/service_hold.ts";
import { DirectoryStack } from "../tree/directory_stack.ts";
import { type Checked, type CheckedStore, committedLayers } from "./check.ts";
import { type ComparedLayers, isRecordOf } from "./content.ts";
import { readDockerRecords } from "./docker_records.ts";
import { openTrees } from "./layer_trees.ts";
import { requireUnmounted } from "./layer_uses.ts";
import { homeOf, StoreView } from "./store_view.ts";

/**
 * Records the layers of a store that have no record.
 *
 * @param isWanted whether a layer is to be recorded
 * @param failed gets the error for each layer that could not be recorded; layers in use are skipped
 * @returns the ids, or the keys and names, of the layers that were recorded, sorted
 * @throws {VeneerError} `in use` if a service holds the store
 */
export function recordContents(
  store: CheckedStore,
  checked: Checked,
  isWanted: (id: string) => boolean,
  failed: (error: VeneerError) => void,
): string[] {
  const { root, of, checks, options } = store;
  const name = homeOf(store);
  const home = Home.open(root, name, IDENTITY);
  home.requireWritable();
  const state = new RunState(home);
  using _hold = holdToChange(state, home.path);
  using view = StoreView.open(root, name, options)!;
  using trees = openTrees(view, checks, of);
  if (trees === undefined) return [];
  const { ids, createdAt = () => 0 } = of === "layers"
    ? imageLayers(store, checked)
    : committedLayers(checked.rows);
  const record = (id: string): boolean => {
    if (isRecordOf(contentRecord(home, id), createdAt(id)) || home.isIncomplete(id)) return false;
    using lock = state.tryLockLayer(id);
    if (lock === undefined || lock.references.count > 0) return false;
    if (of === "layers" && isMounted(id, home, checks!.pathsOf(view, id, of))) return false;
    using scope = new DisposableStack();
    const directory = trees.open(id, scope);
    if (directory === undefined) return false;
    using log = new ContentLog(home, id);
    recordTree(directory, log);
    log.addSums(directory, undefined);
    log.finish();
    return true;
  };
  const damaged = new Set(checked.findings.map(({ layer }) => layer));
  return [...ids].filter((id) =>
    isWanted(checked.shown(id)) && !damaged.has(id) &&
    attempt(failed, `layer ${id}`, () => record(id)) === true
  ).map(checked.shown).sort();
}

/** The layers of a store that do not belong to a Docker container. */
function imageLayers({ root, driver }: CheckedStore, { parents }: Checked): ComparedLayers {
  const uses = readDockerRecords(root, driver, () => {})?.uses ?? [];
  const ofContainers = new Set(
    uses.filter(({ chain }) => chain === undefined).map(({ layer }) => layer),
  );
  return { of: "layers", ids: [...parents.keys()].filter((id) => !ofContainers.has(id)) };
}

function isMounted(id: string, home: Home, paths: Iterable<string>): boolean {
  try {
    requireUnmounted(`layer ${id}`, home.path, new Set(paths));
    return false;
  } catch (error) {
    if (codeOf(error) === "in use") return true;
    throw error;
  }
}

/** Records every entry of a tree. */
function recordTree(root: number, log: ContentLog): void {
  const stat = new Stat();
  using directories = new DirectoryStack(root);
  const list = (path: string) => {
    const subdirectories: { name: EntryName; path: string }[] = [];
    for (const { name } of readEntries(directories.fd)) {
      if (tryStatat(directories.fd, name, stat) < 0) continue;
      log.found(path, name, stat);
      if (!stat.isDirectory) continue;
      const text = nameText(name);
      subdirectories.push({ name, path: path === "" ? text : `${path}/${text}` });
    }
    return subdirectories;
  };
  const levels = [list("")];
  for (let level; (level = levels.at(-1));) {
    const next = level.pop();
    if (next === undefined) {
      levels.pop();
      if (levels.length > 0) directories.leave();
    } else if (directories.tryEnter(next.name) >= 0) levels.push(list(next.path));
  }
}
