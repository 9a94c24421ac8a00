/**
 * `veneer cleanup`: ends unused mounts and unfinished removals, prints each action, and continues
 * after a failure.
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
