/** Reads trees of files without the code under test, and compares them as text. */
import { createHash } from "node:crypto";
import { lchownSync, lstatSync, readlinkSync } from "node:fs";
import { comparePaths, formatChange } from "../../lib/tree/changes.ts";
import type { Change } from "../../lib/tree/changes.ts";
import { must } from "./cases.ts";
import type { Random } from "./random.ts";

/**
 * The entries below a root, without the root itself: a map of paths to descriptions. The times of
 * directories are left out.
 */
export function describeTree(root: string): Map<string, string> {
  const entries = new Map<string, string>();
  const visit = (path: string) => {
    for (const { name } of Deno.readDirSync(root + path)) {
      const below = `${path}/${name}`;
      const text = describe(root + below);
      entries.set(below, text);
      if (text.startsWith("d")) visit(below);
    }
  };
  visit("");
  return new Map([...entries].sort(([a], [b]) => comparePaths(a, b)));
}

function describe(path: string): string {
  const stat = lstatSync(path, { bigint: true });
  const owner = `${stat.uid}:${stat.gid}`;
  const mode = (stat.mode & 0o7777n).toString(8);
  if (stat.isDirectory()) return `directory ${mode} ${owner}`;
  const common = `${mode} ${owner} ${stat.mtimeNs}`;
  if (stat.isSymbolicLink()) return `link ${common} -> ${readlinkSync(path)}`;
  if (!stat.isFile()) return `special ${common} ${stat.mode >> 12n} ${stat.rdev}`;
  const hash = createHash("sha1").update(Deno.readFileSync(path)).digest("hex");
  return `file ${common} ${stat.size} ${hash}`;
}

const isDirectory = (text: string | undefined) => text !== undefined && text.startsWith("d");

/** The changes of a child against its parent: the model for `changes`. */
export function modelChanges(
  parent: ReadonlyMap<string, string>,
  child: ReadonlyMap<string, string>,
): string[] {
  const changed = new Map<string, Change["kind"]>();
  const mark = (path: string, kind: Change["kind"]) => {
    changed.set(path, kind);
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
      const above = path.slice(0, at);
      if (!changed.has(above)) changed.set(above, "C");
    }
  };
  for (const [path, text] of child) {
    const before = parent.get(path);
    if (before === undefined) mark(path, "A");
    else if (before !== text) mark(path, "C");
  }
  for (const path of parent.keys()) {
    if (child.has(path)) continue;
    // Entries below a directory that was removed or replaced are not listed.
    const above = path.slice(0, path.lastIndexOf("/"));
    if (above === "" || isDirectory(child.get(above))) mark(path, "D");
  }
  return [...changed].sort(([a], [b]) => comparePaths(a, b))
    .map(([path, kind]) => formatChange({ path, kind }));
}

/** Changes as lines. */
export const lines = (changes: Iterable<Change>): string[] => [...changes].map(formatChange);

/**
 * Makes a tar of a directory's content with GNU tar, without an entry for the root; returns the
 * file's path.
 */
export function tarOf(directory: string, file: string): string {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  if (names.length === 0) Deno.writeFileSync(file, new Uint8Array(10240));
  else {
    must("tar", "-C", directory, "--format=posix", "--xattrs", "-cf", file, "--", ...names);
  }
  return file;
}

/**
 * Makes a few random changes in a tree. They make, rewrite, append to, move and remove files; make,
 * move, remove and replace directories; and change modes, owners and links.
 */
export function changeAtRandom(root: string, pick: Random, count: number): void {
  for (let i = 0; i < count; i++) {
    const entries = [...describeTree(root).entries()];
    const any = (filter: (text: string) => boolean) => {
      const fit = entries.filter(([, text]) => filter(text));
      return fit.length === 0 ? undefined : root + fit[pick(fit.length)][0];
    };
    const directory = pick(3) === 0 ? root : any(isDirectory) ?? root;
    const fresh = `${directory}/${"abcdefgh"[pick(8)]}${pick(4)}`;
    try {
      changeOnce(pick(11), { pick, any, fresh });
    } catch (error) {
      // The operation is impossible here, such as a rename of a directory into itself.
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
}

interface Choice {
  readonly pick: Random;
  readonly any: (filter: (text: string) => boolean) => string | undefined;
  readonly fresh: string;
}

function changeOnce(operation: number, { pick, any, fresh }: Choice): void {
  const file = any((text) => text.startsWith("f")), entry = any(() => true);
  switch (operation) {
    case 0:
    case 1:
      return Deno.writeTextFileSync(fresh, `content ${pick(1000)}`);
    case 2:
      return Deno.mkdirSync(fresh);
    case 3:
      if (file) Deno.writeTextFileSync(file, "more", { append: true });
      return;
    case 4:
      if (entry) Deno.removeSync(entry, { recursive: true });
      return;
    case 5:
      if (entry) Deno.renameSync(entry, fresh);
      return;
    case 6:
      if (file) Deno.chmodSync(file, [0o600, 0o644, 0o755][pick(3)]);
      return;
    case 7:
      if (entry) lchownSync(entry, pick(3), pick(3));
      return;
    case 8:
      return Deno.symlinkSync(`target-${pick(5)}`, fresh);
    case 9:
      if (!entry) return;
      Deno.removeSync(entry, { recursive: true });
      if (pick(2) === 0) Deno.mkdirSync(entry);
      else Deno.writeTextFileSync(entry, "was something else");
      return;
    case 10:
      if (file) Deno.linkSync(file, fresh);
  }
}
