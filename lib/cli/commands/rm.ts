/**
 * `veneer rm`: removes layers, and continues after a failure.
 *
 * @module
 */
import type { Run } from "./context.ts";
import { removeEach } from "./remove_each.ts";

export const run: Run = async (context) => {
  const driver = await context.openToChange();
  return removeEach(context, (id) => driver.remove(id));
};
