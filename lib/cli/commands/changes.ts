/**
 * `veneer changes`: lists the paths that a layer adds, changes and deletes.
 *
 * @module
 */
import { formatChange } from "../../tree/changes.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const driver = await context.open();
  const id = context.layerId(driver);
  const changes = driver.changes(id, context.parentId(driver));
  context.output.list(changes, ({ kind, path }) => ({ kind, path }), formatChange);
};
