/**
 * `veneer cleanup`: ends what nobody needs any more, and says what that was.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const actions = (await context.open()).cleanup();
  context.output.result({ actions }, () => actions);
};
