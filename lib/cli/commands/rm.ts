/**
 * `veneer rm`: removes layers, going on past those that cannot be.
 *
 * @module
 */
import type { Run } from "./context.ts";
import { removeEach } from "./remove_each.ts";

export const run: Run = async (context) => {
  const driver = await context.openToChange();
  return removeEach(context, (id) => driver.remove(id));
};
