/**
 * `veneer image umount`: undoes `image mount`.
 *
 * @module
 */
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { operands: [text], output } = context;
  const unmounted = await context.readImages((images) => images.unmount(text));
  output.result(unmounted, () => []);
};
