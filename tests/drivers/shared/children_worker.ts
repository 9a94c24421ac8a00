/**
 * One of several processes that make and remove layers in one store, and see each that may not go stay.
 *
 *     children_worker.ts ROOT DRIVER NAME SECONDS
 *
 * The name of one that makes layers as another program does begins with `other`. Prints how many removals were
 * refused, and fails at the first one that was not.
 */
import { assertEquals } from "@std/assert";
import { VeneerError } from "../../../lib/base/errors.ts";
import { type DriverName, Layers } from "./children.ts";

/** How many layers change their parents by turns: each is old enough to be known when its turn comes. */
const CHILDREN = 8;

if (import.meta.main) {
  const [root, driver, name, seconds] = Deno.args;
  const layers = new Layers(root, driver as DriverName), end = Date.now() + Number(seconds) * 1000;
  const isOther = name.startsWith("other");
  const make = (id: string, base: string) => {
    if (isOther) layers.makeAsDocker(id, base);
    else opened.create(id, { parent: base });
  };
  const remove = (id: string) => {
    if (isOther) layers.removeAsDocker(id);
    else opened.remove(id);
  };
  let opened = layers.open(), refused = 0;
  const requireRefused = (id: string, child: string) => {
    try {
      opened.remove(id);
    } catch (error) {
      if (!(error instanceof VeneerError) || error.code !== "in use") throw error;
      assertEquals(error.message, `layer ${id} has children: ${child}; remove them first`);
      refused++;
      return;
    }
    throw new Error(`${name}: ${id} was removed, on which ${child} stands`);
  };
  const child = (i: number) => `${name}${String.fromCharCode(97 + i)}`;
  const base = (i: number) => `base-of-${child(i)}`;
  for (let i = 0; i < CHILDREN; i++) {
    opened.create(base(i));
    make(child(i), base(i));
  }
  // Each has its turn, however slow the machine is.
  for (let turn = 0; turn < CHILDREN || Date.now() < end; turn++) {
    const i = turn % CHILDREN;
    if (i % 5 === 0) opened = layers.open();
    requireRefused(base(i), child(i));
    // Another parent for a layer of the same id.
    remove(child(i));
    opened.create("next-" + base(i));
    make(child(i), "next-" + base(i));
    requireRefused("next-" + base(i), child(i));
    opened.remove(base(i));
    opened.create(base(i));
    remove(child(i));
    make(child(i), base(i));
    opened.remove("next-" + base(i));
  }
  for (let i = 0; i < CHILDREN; i++) {
    requireRefused(base(i), child(i));
    remove(child(i));
    opened.remove(base(i));
  }
  console.log(refused);
  if (layers.warnings.length > 0) throw new Error(layers.warnings.join("\n"));
}
