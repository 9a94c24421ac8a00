/**
 * Deletes orphans. With the store's lock held, under which layers are made and removed, orphans are
 * searched once more, and only these are deleted.
 *
 * @module
 */
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { attempt, type VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { ConfinedPath, removeTree, unlink } from "../tree/confined.ts";
import type { CheckedStore } from "./check.ts";
import type { MeasuredOrphan, Orphan } from "./orphan.ts";
import { findOrphans } from "./orphans.ts";

/**
 * Deletes the orphans of a store of layers that lie in the home and are not layers themselves.
 *
 * @param failed gets the error for each orphan that could not be deleted
 * @returns the deleted orphans
 */
export function deleteInPlace(
  store: CheckedStore,
  failed: (error: VeneerError) => void,
): MeasuredOrphan[] {
  const home = Home.open(store.root, store.driver, IDENTITY);
  home.requireWritable();
  using _store = new RunState(home).lockStore();
  const orphans = findOrphans(store, () => 0).filter(({ deletion }) => deletion === "in place");
  return orphans.filter((orphan) =>
    attempt(failed, orphan.file, () => {
      deleteOne(home, orphan);
      return true;
    }) ?? false
  );
}

function deleteOne(home: Home, { kind, file }: Orphan): void {
  const path = new ConfinedPath(home.root, file.slice(home.path.length + 1));
  // A file system may be mounted there.
  if (kind === "mount-point") unlink(path, AT_REMOVEDIR);
  else removeTree(path);
}
