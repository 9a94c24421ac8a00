/**
 * `veneer umount`: undoes one mount of a layer.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const driver = await context.openToChange();
  const id = context.wholeId(driver);
  const { options } = context;
  driver.put(id, { lazy: options.flag("lazy"), force: options.flag("force") });
  context.output.result({ id, references: driver.layer(id).references }, () => []);
};
