/**
 * What the kill tests of graph drivers kill: opens a store, and does one operation.
 *
 *     graph_child.ts ROOT DRIVER OPERATION TAR
 */
import { openDriver } from "../../support/drivers.ts";
import { O_RDONLY, O_WRONLY, open } from "../../../ffi/files.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { untilKilled } from "./point.ts";

if (import.meta.main) {
  const [root, name, operation, tar] = Deno.args;
  const warn = () => {};
  const driver = openDriver({ root, driver: name, options: [], idMaps: IDENTITY, warn });
  if (operation === "put") driver.get("layer");
  const input = open(tar, O_RDONLY), output = open("/dev/null", O_WRONLY);

  const operations: Record<string, () => unknown> = {
    create: () => driver.create("new", { parent: "bottom" }),
    get: () => driver.get("layer"),
    put: () => driver.put("layer"),
    apply: () => driver.applyDiff("layer", undefined, input),
    diff: () => driver.diff("layer", undefined, output),
    remove: () => driver.remove("layer"),
    cleanup: () => driver.cleanup(),
  };
  untilKilled(operations[operation]);
}
