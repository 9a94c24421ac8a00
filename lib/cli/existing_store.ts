/**
 * Checks that there is a store at a root. Commands that read or change a store do not make one: a
 * mistyped root would look like an empty store.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { DRIVERS } from "../../drivers/names.ts";

/** The kinds of stores, by their content. */
export type StoreKind = "layers" | "snapshots";

/** Whether a store of that kind, of any driver, is or was at a root. */
export function hasStore(root: string, kind: StoreKind): boolean {
  const directory = kind === "layers" ? root : join(root, "snapshots");
  return DRIVERS.some(({ name }) => tryLstat(join(directory, name))?.isDirectory);
}

/**
 * @param sought the things that the command works on, if they are not those that the store is named
 * after: images are in a store of snapshots
 * @throws {VeneerError} `not found` if it does not exist; the message names the nearest store
 */
export function requireStore(
  root: string,
  kind: StoreKind,
  sought: StoreKind | "images" = kind,
): void {
  if (hasStore(root, kind)) return;
  if (tryLstat(`${root}/.`) === undefined && tryLstat(root) !== undefined) {
    throw new VeneerError("invalid argument", `${root} is not a directory; name one by --root`);
  }
  const above = dirname(root);
  if (DRIVERS.some(({ name }) => name === basename(root)) && hasStore(above, kind)) {
    throw new VeneerError(
      "not found",
      `there is no store of ${kind} at ${root}: it is a driver's own directory; use --root ${above}`,
    );
  }
  const other: StoreKind = kind === "layers" ? "snapshots" : "layers";
  const besides = hasStore(root, other) ? `, only one of ${other}` : "";
  throw new VeneerError("not found", `there is no store of ${kind} at ${root}${besides}`, {
    remedy: { kind: "make store", of: sought },
  });
}
