/**
 * `veneer snapshot cleanup`: removes unused mounts and leftovers, prints each action, and continues
 * after a failure.
 *
 * @module
 */
import type { Run } from "../context.ts";

/** The exit status is that of the first failure. */
export const run: Run = async (context) => {
  let status = 0;
  const actions = await context.changeSnapshots((snapshotter) =>
    snapshotter.cleanup((error) => {
      const failure = context.output.error(error);
      status ||= failure;
    })
  );
  context.output.result({ actions }, () => actions);
  return status;
};
