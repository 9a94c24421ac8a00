/**
 * `veneer snapshot exec`: runs a program in a snapshot.
 *
 * @module
 */
import { askedFor, runInside } from "../../run_inside.ts";
import type { CommandContext, Run } from "../context.ts";

export const run: Run = (context) => runInSnapshot(context, context.operands.slice(1));

/** Mounts the snapshot of the first operand while a program runs in it. */
export async function runInSnapshot(
  context: CommandContext,
  command: readonly string[],
): Promise<number> {
  const { options, operands: [key] } = context;
  const asked = askedFor(options, command);
  // The store is not kept open, so that other commands can change it meanwhile.
  const tree = {
    mount: () => context.changeSnapshots((snapshotter) => snapshotter.mount(key)),
    unmount: () => context.changeSnapshots((snapshotter) => void snapshotter.unmount(key)),
  };
  return await runInside(tree, asked);
}
