/**
 * `veneer create`: makes an empty layer.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import { parseOptions } from "../../base/options.ts";
import type { Run } from "./context.ts";

/** Without this error, an empty variable in a script would silently make a base layer. */
const EMPTY_PARENT = 'option --parent "": name a layer, or leave --parent out for a base layer';

export const run: Run = async (context) => {
  const { options, operands: [id], output } = context;
  const storageOptions = parseOptions(options.values("storage-opt"), "storage option");
  const parent = options.value("parent");
  if (parent === "") throw new VeneerError("usage", EMPTY_PARENT);
  const layer = { parent, mountLabel: options.value("mount-label"), storageOptions };
  const driver = await context.openToCreate();
  if (options.flag("read-write")) driver.createReadWrite(id, layer);
  else driver.create(id, layer);
  output.result({ id, parent: parent ?? "" }, () => []);
};
