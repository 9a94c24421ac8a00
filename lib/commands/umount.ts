/**
 * `veneer umount`: undoes one mount of a layer.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const driver = await context.open();
  const id = context.layerId(driver);
  driver.put(id);
  context.output.result({ id, references: driver.layer(id).references }, () => []);
};
