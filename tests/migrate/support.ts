/** What the cases of migrations share: stores with all that one may hold, and all that a store says of itself. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { veneer } from "../support/commands.ts";
import { apply, fill } from "../support/layers.ts";
import { describe } from "../support/tree_entries.ts";
import { lines } from "../support/trees.ts";
import { layersOf } from "../drivers/same_tree/layers.ts";
import { partsOf } from "../drivers/same_tree/tars.ts";
import { tar } from "../tar/support/tar_builder.ts";

/** A store, as it is opened and as commands name it. */
export interface Place {
  readonly root: string;
  readonly driver: string;
  readonly options?: readonly string[];
}

const warn = (message: string) => {
  throw new Error(`a warning: ${message}`);
};

/** What a container may do to the layers below it: deletions, an opaque directory, copied files. */
function change(root: string): void {
  Deno.writeTextFileSync(join(root, "new"), "new");
  Deno.mkdirSync(join(root, "directory"), { recursive: true });
  // Deno cannot name a file whose name is not UTF-8.
  const names = Array.from(Deno.readDirSync(root), ({ name }) => name)
    .filter((name) => !name.includes("\ufffd")).sort();
  for (const name of names.slice(0, 3)) {
    Deno.removeSync(join(root, name), { recursive: true });
    Deno.mkdirSync(join(root, name));
    Deno.writeTextFileSync(join(root, name, "x"), name);
  }
}

/**
 * Makes chains of generated layers and snapshots, of all kinds.
 *
 * @param seeds of the chains: see `same_tree/layers.ts`
 */
export function makeStores(place: Place, scratch: string, seeds: readonly number[]): void {
  using layers = openDriver({ ...place, warn });
  using snapshots = openSnapshotter({ ...place, warn });
  for (const seed of seeds) {
    let parent: string | undefined;
    for (const [i, steps] of layersOf(seed, "layered").entries()) {
      const file = join(scratch, `${seed}-${i}.tar`), id = `${seed}-${i}`;
      Deno.writeFileSync(file, tar(...partsOf(steps)));
      layers.create(id, { parent });
      apply(layers, id, file);
      snapshots.prepare("key", parent ?? "");
      snapshots.applyDiff("key", file);
      snapshots.commit(id, "key", { labels: new Map([["number", String(i)], ["é/\n", id]]) });
      parent = id;
    }
    fill(layers, `${seed}-box`, change, parent);
    layers.create(`${seed}-empty`, { parent });
    snapshots.prepare(`${seed}-box`, parent!, { labels: new Map([["of", "a box"]]) });
    change(snapshots.mount(`${seed}-box`));
    snapshots.unmount(`${seed}-box`);
    snapshots.view(`${seed}-view`, parent!);
  }
  snapshots.cleanup();
  layers.cleanup();
}

/**
 * A tree as lines. Overlay counts the names of a file that its layer below has, so a file with one
 * name alone may seem to have more.
 */
function treeOf(root: string): string[] {
  const all = describe(root);
  const links = Map.groupBy(all, (line) => / is ("(?:[^"\\]|\\.)*")/.exec(line)?.[1]);
  return all.map((line) => {
    const link = / is ("(?:[^"\\]|\\.)*")/.exec(line);
    return link !== null && links.get(link[1])!.length === 1 ? line.replace(link[0], "") : line;
  });
}

/** All that a store shows of its layers and snapshots: relations, changes, trees, labels and times. */
export function factsOf(place: Place): string[] {
  const facts: string[] = [];
  const add = (what: string, about: unknown, changes: string[], tree: string[]) =>
    facts.push(
      `${what}: ${JSON.stringify(about)}`,
      ...changes.map((line) => `${what} changes ${line}`),
      ...tree.map((line) => `${what} shows ${line}`),
    );
  using layers = openDriver({ ...place, warn });
  for (const { id, parent, incomplete } of layers.layers()) {
    const changes = lines(layers.changes(id, undefined));
    const tree = treeOf(layers.get(id, { readOnly: true }));
    layers.put(id);
    add(`layer ${id}`, { parent, incomplete }, changes, tree);
  }
  layers.cleanup();
  using snapshots = openSnapshotter({ ...place, warn });
  for (const { name, kind, parent, created, updated, labels } of [...snapshots.recorded()]) {
    const changes = lines(snapshots.changes(name));
    const key = kind === "committed" ? "peek" : name;
    if (key !== name) snapshots.view(key, name);
    const tree = treeOf(snapshots.mount(key));
    snapshots.unmount(key);
    if (key !== name) snapshots.remove(key);
    const about = { kind, parent, created, updated, labels: [...labels].sort() };
    add(`snapshot ${name}`, about, changes, tree);
  }
  snapshots.cleanup();
  return facts;
}

/** The words of a migration. */
export function words(from: Place, to: Place, ...more: string[]): string[] {
  const options = [...from.options ?? [], ...to.options ?? []].flatMap((option) => ["-o", option]);
  const stores = ["--root", from.root, "--driver", from.driver];
  return [...stores, ...options, "migrate", "--to", to.driver, "--to-root", to.root, ...more];
}

/** Migrates, without a word of warning; returns what the command prints. */
export function migrate(from: Place, to: Place, ...more: string[]): string {
  const { code, stdout, stderr } = veneer(...words(from, to, ...more));
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  return stdout;
}

/** One store's outcome in JSON. */
export interface Outcome {
  readonly of: string;
  readonly migrated: string[];
  readonly kept: string[];
  readonly verified: string[];
  readonly images: string[];
  readonly failed: { id: string; code: string; reason: string; skipped: string[] }[];
}

/** Migrates, and parses what `--json` prints. */
export function outcomeOf(from: Place, to: Place, ...more: string[]) {
  const { code, stdout, stderr } = veneer(...words(from, to, "--json", ...more));
  const stores: Outcome[] = stdout === "" ? [] : JSON.parse(stdout).stores;
  return { code, stores, stderr };
}
