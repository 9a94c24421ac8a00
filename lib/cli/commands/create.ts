/**
 * `veneer create`: makes an empty layer.
 *
 * @module
 */
import { parseOptions } from "../../base/options.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, operands: [id], output } = context;
  const storageOptions = parseOptions(options.values("storage-opt"), "storage option");
  const parent = options.value("parent") || undefined;
  const layer = { parent, mountLabel: options.value("mount-label"), storageOptions };
  const driver = await context.openToCreate();
  if (options.flag("read-write")) driver.createReadWrite(id, layer);
  else driver.create(id, layer);
  output.result({ id, parent: parent ?? "" }, () => []);
};
