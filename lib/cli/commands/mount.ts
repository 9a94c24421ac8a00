/**
 * `veneer mount`: mounts a layer and prints the path of its root.
 *
 * @module
 */
import { idmapOf } from "./idmap.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const driver = await context.openToChange();
  const id = options.flag("read-only") ? context.layerId(driver) : context.wholeId(driver);
  const path = driver.get(id, {
    readOnly: options.flag("read-only"),
    label: options.value("mount-label"),
    options: options.flag("volatile") ? ["volatile"] : [],
    idMaps: idmapOf(options),
  });
  output.result({ id, path }, () => [path]);
};
