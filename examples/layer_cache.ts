/**
 * A build of layers in which no step is done twice: each directory is a layer on the one before, and a layer is named
 * by what it and all below it have.
 *
 *     deno run --allow-all examples/layer_cache.ts STORE TAR DIRECTORY...
 *
 * Prints each layer, whether it was there already, and the paths that its directory changed. Writes the last layer's
 * changes to TAR.
 */
import { formatChange, type GraphDriver, openDriver } from "@veneer/veneer";
import { createHash } from "node:crypto";
import { cpSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** The names of all entries below a directory, sorted, so that equal trees have equal digests. */
function entriesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
}

/** A name for the content of a directory on a parent. */
function digestOf(parent: string, directory: string): string {
  const hash = createHash("sha256").update(`${parent}\0`);
  for (const name of entriesOf(directory)) {
    const path = join(directory, name), { mode } = lstatSync(path);
    hash.update(`${name}\0${mode}\0`);
    if (lstatSync(path).isSymbolicLink()) hash.update(readlinkSync(path));
    else if (lstatSync(path).isFile()) hash.update(readFileSync(path));
  }
  return hash.digest("hex");
}

/** Makes a layer that has what the directory has; nothing stays of one that fails. */
function build(layers: GraphDriver, id: string, parent: string, directory: string): void {
  layers.create(id, { parent });
  try {
    const root = layers.get(id);
    try {
      cpSync(directory, root, { recursive: true, verbatimSymlinks: true });
    } finally {
      layers.put(id);
    }
  } catch (error) {
    layers.remove(id);
    throw error;
  }
}

const [store, tar, ...directories] = Deno.args;
if (directories.length === 0) {
  console.error("usage: layer_cache.ts STORE TAR DIRECTORY...");
  Deno.exit(2);
}

using layers = await openDriver({ root: store });
let parent = "";
for (const directory of directories) {
  const id = digestOf(parent, directory);
  const isCached = layers.exists(id);
  if (!isCached) build(layers, id, parent, directory);
  console.log(`${id.slice(0, 12)} ${isCached ? "cached" : "built"} ${directory}`);
  using changes = layers.changes(id, parent);
  for (const change of changes) console.log(`  ${formatChange(change)}`);
  parent = id;
}
layers.diff(parent, layers.layer(parent).parent, tar);
