/**
 * `veneer snapshot mounts`: prints the mounts of a snapshot, for another program to perform.
 *
 * @module
 */
import { mountCommand } from "../../mount_command.ts";
import { escapeControls } from "../../../base/printable.ts";
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = async (context) => {
  const { operands: [key, target], output } = context;
  const mounts = await context.readSnapshots((snapshotter) =>
    snapshotter.mounts(findKey(context, snapshotter, key))
  );
  if (target !== undefined) {
    output.result(mounts, () => mounts.map((mount) => mountCommand(mount, target)));
  } else {
    await output.resultTable(mounts, () => [
      ["TYPE", "SOURCE", "OPTIONS"],
      ...mounts.map(({ type, source, options }) => [
        type,
        escapeControls(source),
        escapeControls(options.join(",")),
      ]),
    ]);
  }
};
