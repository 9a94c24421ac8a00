/**
 * The home and the run-time state of an open store of snapshots, for code outside the snapshotter.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import type { IdMaps } from "../base/id_maps.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";

/** @param path the store's path, `<root>/snapshots/<driver>` */
export function storeHome(path: string, idMaps: IdMaps): { home: Home; state: RunState } {
  const snapshots = dirname(path);
  const store = join(basename(snapshots), basename(path));
  const home = Home.open(dirname(snapshots), store, idMaps);
  return { home, state: new RunState(home) };
}
