/**
 * Restores the metadata of a store's pool from a dump.
 *
 * @module
 */
import { join } from "@std/path";
import { O_NONBLOCK, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { holdForService, holdToChange } from "../store/service_hold.ts";
import type { CheckedStore } from "./check.ts";
import { Mender } from "./mender.ts";
import { Quarantine } from "./quarantine.ts";
import { requireNoDocker } from "./repair.ts";
import type { RestoredPool } from "./restored_pool.ts";
import { homeOf, StoreView } from "./store_view.ts";

/**
 * Restores the metadata of the pool of a store.
 *
 * @param from the path of the dump
 * @returns the metadata, and the directory of what was there before
 * @throws {VeneerError} `in use` if a service, Docker's daemon or the kernel uses the pool; `invalid
 * argument` if the file is not a dump of this pool
 */
export function restorePoolOf(
  store: CheckedStore,
  from: string,
  isDry: boolean,
): RestoredPool & { readonly quarantine: string | undefined } {
  const { root, driver, of, checks, options } = store;
  const name = homeOf(store), path = join(root, name);
  requireNoDocker(root, path);
  const home = Home.open(root, name, IDENTITY);
  home.requireWritable();
  const state = new RunState(home);
  using _hold = of === "layers" ? holdToChange(state, path) : holdForService(state, path);
  using _store = state.lockStore();
  using view = StoreView.open(root, name, options)!;
  const quarantine = new Quarantine(home);
  const mender = new Mender(home, quarantine, join(root, "image", driver));
  return withDump(from, (dump) => {
    // Written first: after a kill it tells what is in the quarantine.
    if (!isDry) {
      const what = `is made again from the dump ${from}`;
      const file = home.join(driver).text;
      quarantine.journal.repairs.push({ kind: "pool-metadata", file, what, steps: [] });
      quarantine.write();
    }
    const restored = checks!.restorePool!({ of, view, home, state, mender, dump, isDry });
    quarantine.finish();
    return { ...restored, quarantine: quarantine.isUsed ? quarantine.path.text : undefined };
  });
}

/**
 * Opens a dump for reading.
 *
 * @throws {VeneerError} `invalid argument` if it is not a file
 */
export function withDump<T>(from: string, use: (fd: number) => T): T {
  return withFd(open(from, O_RDONLY | O_NONBLOCK), (fd) => {
    if (fstat(fd).isFile) return use(fd);
    throw new VeneerError("invalid argument", `${from} is not a file; a dump is read from a file`);
  });
}
