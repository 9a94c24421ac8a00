/**
 * `veneer image tag`: gives an image a further name.
 *
 * @module
 */
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { operands: [text, name], output } = context;
  const tagged = await context.changeImages((images) => images.tag(text, name));
  output.result(tagged, () => []);
};
