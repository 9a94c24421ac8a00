/**
 * `veneer exec`: runs a program in a layer.
 *
 * @module
 */
import { askedFor, runInside } from "../run_inside.ts";
import type { CommandContext, Run } from "./context.ts";

export const run: Run = (context) => runInLayer(context, context.operands.slice(1));

/** Mounts the layer of the first operand while a program runs in it. */
export async function runInLayer(
  context: CommandContext,
  command: readonly string[],
): Promise<number> {
  const { options } = context;
  const asked = askedFor(options, command);
  const driver = await context.openToChange();
  const readOnly = options.flag("read-only");
  const id = readOnly ? context.layerId(driver) : context.wholeId(driver);
  const tree = { mount: () => driver.get(id, { readOnly }), unmount: () => driver.put(id) };
  return await runInside(tree, asked);
}
