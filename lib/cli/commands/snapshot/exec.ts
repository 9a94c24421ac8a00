/**
 * `veneer snapshot exec`: runs a program in a snapshot.
 *
 * @module
 */
import { askedFor, runInside } from "../../run_inside.ts";
import type { Snapshotter } from "../../../snapshots/snapshotter.ts";
import type { CommandContext, Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = (context) => runInSnapshot(context, context.operands.slice(1));

/** Mounts the snapshot that the first operand names for as long as a program runs in it. */
export async function runInSnapshot(
  context: CommandContext,
  command: readonly string[],
): Promise<number> {
  const { options, operands: [text] } = context;
  const asked = askedFor(options, command);
  // The store is not kept open: other commands may change it meanwhile.
  let key = text;
  const mount = (snapshotter: Snapshotter) => {
    key = findKey(context, snapshotter, text);
    return snapshotter.mount(key);
  };
  const tree = {
    mount: () => context.changeSnapshots(mount),
    unmount: () => context.changeSnapshots((snapshotter) => void snapshotter.unmount(key)),
  };
  return await runInside(tree, asked);
}
