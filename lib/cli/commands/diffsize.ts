/**
 * `veneer diffsize`: prints the bytes of the files that a layer changes.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const driver = await context.open();
  const id = context.layerId(driver);
  const size = driver.diffSize(id, context.parentId(driver));
  context.output.result({ id, size }, () => [String(size)]);
};
