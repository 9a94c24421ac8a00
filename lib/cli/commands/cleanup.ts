/**
 * `veneer cleanup`: ends what nobody needs any more, says what that was, and goes on past what cannot be ended.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { output } = context;
  const driver = await context.openToChange();
  let status = 0;
  const actions = driver.cleanup((error) => {
    const failure = output.error(error);
    status ||= failure;
  });
  output.result({ actions }, () => actions);
  return status;
};
