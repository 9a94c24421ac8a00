/**
 * `veneer snapshot cleanup`: ends what nobody needs any more, and says what that was.
 *
 * @module
 */
import { messageOf } from "../../errors.ts";
import { releaseHome } from "../../private_home.ts";
import type { MountedSnapshots } from "../../snapshots/mounted_snapshots.ts";
import type { Run } from "../context.ts";
import { mountedSnapshots } from "./mounting.ts";

export const run: Run = async (context) => {
  const { actions, home, state } = await context.withSnapshots((snapshotter) => {
    const mounted = mountedSnapshots(context, snapshotter);
    const swept = sweep(mounted, (message) => context.output.warn(message));
    return {
      actions: [...swept, ...snapshotter.cleanup()],
      home: mounted.home,
      state: mounted.state,
    };
  });
  // With the database closed, which was opened through the mount that goes here.
  if (releaseHome(home, state)) actions.push(`released ${home.path}`);
  context.output.result({ actions }, () => actions);
};

/** What keeps mounts from being swept keeps nothing else from it. */
function sweep(mounted: MountedSnapshots, warn: (message: string) => void): string[] {
  try {
    return mounted.sweep();
  } catch (error) {
    warn(messageOf(error));
    return [];
  }
}
