/**
 * `veneer snapshot cleanup`: ends what nobody needs any more, says what that was, and goes on past what cannot be
 * ended.
 *
 * @module
 */
import type { Run } from "../context.ts";

/** The status is that of the first failure. */
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
