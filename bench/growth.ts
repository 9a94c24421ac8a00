/**
 * What a store's size costs: creating, listing and removing layers among many against the same among few, in one process,
 * on the file system that `VENEER_TEST_DIR` lies on.
 *
 * @module
 */
import { join } from "@std/path";
import { openDriver } from "../tests/support/drivers.ts";
import type { GraphDriver } from "../lib/graph/driver.ts";
import { IDENTITY } from "../lib/base/id_maps.ts";
import { compare, report } from "./measure.ts";
import { DIRECTORY, QUICK } from "./subject.ts";

const FEW = 10, MANY = QUICK ? 2_000 : 10_000;
const TURNS = QUICK ? 5 : 11;

/** A store of chains of ten layers. */
function makeStore(layers: number): GraphDriver {
  const driver = openDriver({
    root: join(DIRECTORY, `layers-${layers}`),
    driver: "overlay2",
    options: ["sync=none"],
    idMaps: IDENTITY,
    warn: (message) => console.error(message),
  });
  for (let i = 0; i < layers; i++) {
    driver.create(`layer-${i}`, i % 10 === 0 ? {} : { parent: `layer-${i - 1}` });
  }
  return driver;
}

console.log(`== growth, overlay2 on ${Deno.env.get("VENEER_TEST_FS")}: ${MANY} layers, and ${FEW}`);
const stores = [FEW, MANY].map((layers) => ({ layers, store: makeStore(layers) }));
const few = `among ${FEW}`;
const ids = Array.from({ length: 20 }, (_, i) => `one-${i}`);
const create = (store: GraphDriver) => ids.forEach((id) => store.create(id, { parent: "layer-0" }));
const remove = (store: GraphDriver) => ids.forEach((id) => store.remove(id));

report(
  `create ${ids.length} layers`,
  await compare(
    stores.map(({ layers, store }) => ({
      name: `among ${layers}`,
      run: () => create(store),
      after: () => remove(store),
    })),
    TURNS,
  ),
  few,
  "1.0",
);
report(
  `remove ${ids.length} layers`,
  await compare(
    stores.map(({ layers, store }) => ({
      name: `among ${layers}`,
      before: () => create(store),
      run: () => remove(store),
    })),
    TURNS,
  ),
  few,
  "1.0",
);
report(
  `list, for each of ${MANY} layers`,
  await compare(
    stores.map(({ layers, store }) => ({
      name: `among ${layers}`,
      run: () => {
        for (let listed = 0; listed < MANY; listed += layers) store.layers();
      },
    })),
    TURNS,
  ),
  few,
  "1.0",
);
