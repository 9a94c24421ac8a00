/**
 * A model of what aufs shows of branches, after its sources (`au_lkup_dentry` and `au_do_lookup` of
 * `fs/aufs/dentry.c`, `au_dbtaildir` of `fs/aufs/dinfo.c`, `fs/aufs/vdir.c`), with their faults: a
 * directory is merged down to the lowest branch in which it is opaque, and past entries of other
 * types.
 */
import { lstatSync } from "node:fs";
import { isThere } from "../../support/files.ts";
import { comparePaths } from "../../../lib/tree/changes.ts";

/** Every entry below the root, path to `directory` or its content. */
export function shown(branches: readonly string[]): Map<string, string> {
  const entries = new Map<string, string>();
  // Of the root itself, aufs does not ask whether it is opaque.
  visit("", branches, entries);
  return new Map([...entries].sort(([a], [b]) => comparePaths(a, b)));
}

/** What a plain tree shows. */
export const plain = (root: string): Map<string, string> => shown([root]);

/** @param merged the directories of a path, uppermost first */
function visit(path: string, merged: readonly string[], entries: Map<string, string>): void {
  for (const name of listed(merged)) {
    const found = lookUp(name, merged);
    if (found.length === 0) continue;
    const [top] = found, isDirectory = lstatSync(top).isDirectory();
    const content = isDirectory
      ? "directory"
      : lstatSync(top).isSymbolicLink()
      ? `link ${Deno.readLinkSync(top)}`
      : `file ${Deno.readTextFileSync(top)}`;
    entries.set(`${path}/${name}`, content);
    if (isDirectory) visit(`${path}/${name}`, found, entries);
  }
}

/** The names that are read of merged directories: without those that a whiteout further up hides. */
function listed(merged: readonly string[]): Set<string> {
  const names = new Set<string>(), hidden = new Set<string>();
  for (const directory of merged) {
    const own = [...Deno.readDirSync(directory)].map(({ name }) => name);
    for (const name of own) if (!name.startsWith(".wh.") && !hidden.has(name)) names.add(name);
    for (const name of own) if (name.startsWith(".wh.")) hidden.add(name.slice(".wh.".length));
  }
  return names;
}

/** The entries of a name that are merged, uppermost first; of all but directories, one. */
function lookUp(name: string, merged: readonly string[]): string[] {
  const found: string[] = [];
  let lowestOpaque = -1;
  for (const directory of merged) {
    if (isThere(`${directory}/.wh.${name}`)) break;
    const path = `${directory}/${name}`;
    if (!isThere(path)) continue;
    const isDirectory = lstatSync(path).isDirectory();
    // What is of another type than the uppermost one is passed over.
    if (found.length > 0 && !isDirectory) continue;
    found.push(path);
    if (!isDirectory) break;
    // It should end here, and does not.
    if (isThere(`${path}/.wh..wh..opq`)) lowestOpaque = found.length - 1;
  }
  return lowestOpaque < 0 ? found : found.slice(0, lowestOpaque + 1);
}
