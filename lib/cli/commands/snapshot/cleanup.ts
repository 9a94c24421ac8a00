/**
 * `veneer snapshot cleanup`: finishes removals and ends unused mounts, prints each act, and goes on
 * after a failure.
 *
 * @module
 */
import { attempt, type VeneerError } from "../../../base/errors.ts";
import { releaseHome } from "../../../store/private_home.ts";
import type { Run } from "../context.ts";
import { mountedSnapshots } from "./mounting.ts";

/** The status is that of the first failure. */
export const run: Run = async (context) => {
  let status = 0;
  const failed = (error: VeneerError) => {
    const failure = context.output.error(error);
    status ||= failure;
  };
  const { actions, home, state } = await context.changeSnapshots((snapshotter) => {
    const mounted = mountedSnapshots(context, snapshotter);
    // A failure to sweep the mounts must not prevent the rest.
    const swept = attempt(failed, mounted.home.path, () => mounted.sweep()) ?? [];
    return {
      actions: [...swept, ...snapshotter.cleanup(failed)],
      home: mounted.home,
      state: mounted.state,
    };
  });
  // With the database closed, which was opened through the mount that goes here.
  if (releaseHome(home, state)) actions.push(`released ${home.path}`);
  context.output.result({ actions }, () => actions);
  return status;
};
