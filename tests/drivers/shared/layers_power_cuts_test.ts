/**
 * Power cuts at random moments of a loop that applies tars to layers, writes to containers' layers on
 * them, and removes some.
 */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { openDriver } from "../../support/drivers.ts";
import { describeTree, tarOf } from "../../support/trees.ts";
import { cutPower, fill, type History, LAYERS } from "./power_cuts.ts";

/** A layer's tree. */
function treeOf(layers: GraphDriver, id: string): string {
  const entries = describeTree(layers.get(id));
  layers.put(id);
  return JSON.stringify([...entries]);
}

/** Applies layers, every third one below a container's layer; marks each when its apply has returned. */
const make: History["make"] = (store, scratch, random, mark) => {
  const trees = new Map<string, string>();
  for (let i = 0; i < LAYERS; i++) {
    const id = `layer-${i}`, isSide = i % 4 === 3;
    const parent = i === 0 || random(5) === 0 ? "" : `layer-${i - (i % 4 === 0 ? 2 : 1)}`;
    const tree = `${scratch}/${i}`;
    Deno.mkdirSync(tree);
    fill(tree, random, `t${i}`);
    using layers = openDriver(store);
    layers.create(id, { parent });
    layers.applyDiff(id, parent, tarOf(tree, `${tree}.tar`));
    mark(`+${id}`);
    trees.set(id, treeOf(layers, id));
    if (i % 3 === 0) {
      layers.createReadWrite(`box-${i}`, { parent: id });
      fill(layers.get(`box-${i}`), random, `b${i}`);
      layers.put(`box-${i}`);
      if (i % 2 === 0) layers.remove(`box-${i}`);
    }
    if (!isSide || layers.exists(`box-${i}`)) continue;
    // From now on it may be there or not.
    mark(`-${id}`);
    layers.remove(id);
  }
  using layers = openDriver(store);
  layers.cleanup(); // devicemapper's pool.
  return trees;
};

/** Looks at the layers, and applies another. */
const look: History["look"] = (store, names, looks, trees) => {
  using layers = openDriver(store);
  layers.cleanup();
  const there = layers.layers();
  const whole = there.filter(({ incomplete }) => !incomplete).map(({ id }) => id);
  assertEquals(names.filter((name) => !whole.includes(name)), [], "layers that are lost");
  for (const id of looks) assertEquals(treeOf(layers, id), trees.get(id), `the tree of ${id}`);
  // What was being made: containers' layers first, which stand on the others.
  const rest = there.map(({ id }) => id).filter((id) => !names.includes(id));
  const boxes = rest.filter((id) => id.startsWith("box-"));
  for (const id of [...boxes, ...rest.filter((id) => !boxes.includes(id))]) layers.remove(id);
  layers.createReadWrite("new", { parent: names.at(-1) ?? "" });
  Deno.writeTextFileSync(`${layers.get("new")}/new`, "");
  layers.put("new");
  layers.cleanup();
};

cutPower("applied layer", { make, look });
