/**
 * The choice of the pool that a dump is of: layers and snapshots of one root have a pool each.
 *
 * @module
 */
import { join } from "@std/path";
import { VeneerError } from "../base/errors.ts";
import { escapePath } from "../base/printable.ts";
import { type CheckedStore, checkStore } from "../care/check.ts";
import { withDump } from "../care/pool_restoration.ts";
import type { DumpFit, PoolDump } from "../care/restored_pool.ts";
import { homeOf, StoreView } from "../care/store_view.ts";

/** A store with a pool, and how the dump fits that. */
interface Choice {
  readonly store: CheckedStore;
  readonly fit: DumpFit;
}

/**
 * The store whose pool a dump is of: the only one with a pool, the one that `of` names, or the one
 * that the dump fits. If it fits several, the only one whose metadata is damaged.
 *
 * @param from the path of the dump
 * @param of `layers` or `snapshots`
 * @throws {VeneerError} `usage` if none is named and it cannot be told; `invalid argument` if the
 * dump is not one
 */
export function poolStore(
  stores: readonly CheckedStore[],
  from: string,
  of?: string,
): CheckedStore {
  const all = stores.filter(({ checks }) => checks?.restorePool !== undefined);
  const pools = all.filter((store) => of === undefined || store.of === of);
  const [only, ...others] = pools;
  if (only === undefined) {
    const reason = all.length === 0 ? "and there is none" : `and the one here is of ${all[0].of}`;
    throw new VeneerError(
      "usage",
      "with --from, name the one layer whose files these are; a dump is for the pool of a store " +
        `of devicemapper, ${reason}`,
    );
  }
  if (others.length === 0) return only;
  const choices = withDump(from, (fd) => {
    const dump = only.checks!.readPoolDump!(fd);
    return pools.map((store): Choice => ({ store, fit: fitOf(store, dump) }));
  });
  const fitting = choices.filter(({ fit }) => fit.against === undefined);
  const proven = fitting.filter(({ fit }) => fit.isProven);
  const exact = proven.filter(({ fit }) => fit.isExact);
  const [first, ...more] = exact.length > 0 ? exact : proven.length > 0 ? proven : fitting;
  if (first === undefined) throw undecided("the dump fits neither", choices);
  const damaged = pools.filter(isDamaged);
  if (more.length > 0) {
    if (damaged.length === 1) return damaged[0];
    throw undecided("the dump fits both", choices);
  }
  if (damaged.length === 0 || damaged.includes(first.store)) return first.store;
  throw undecided(`the dump is of ${nameOf(first.store)}, which is not damaged`, choices);
}

/** How a dump fits a store's pool. */
function fitOf(store: CheckedStore, dump: PoolDump): DumpFit {
  using view = StoreView.open(store.root, homeOf(store), store.options);
  return view === undefined
    ? { isProven: false, isExact: false }
    : store.checks!.fitOfDump!(view, dump);
}

const isDamaged = (store: CheckedStore): boolean =>
  checkStore(store)?.findings.some(({ kind }) => /^metadata-(image|device)-/.test(kind)) ?? false;

const nameOf = ({ root, driver, of }: CheckedStore): string =>
  `the pool of ${of} at ${join(root, of === "layers" ? "" : of, driver)}`;

function undecided(what: string, choices: readonly Choice[]): VeneerError {
  const each = choices.map(({ store, fit }) =>
    `${nameOf(store)}${fit.against === undefined ? "" : ` (it ${fit.against})`}`
  );
  const ways = choices.map(({ store }) => `--of ${store.of}`);
  return new VeneerError(
    "usage",
    escapePath(`${what}: there are ${each.join(" and ")}; choose with ${ways.join(" or ")}`),
  );
}
