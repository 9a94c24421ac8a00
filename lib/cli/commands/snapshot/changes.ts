/**
 * `veneer snapshot changes`: lists the paths that a snapshot adds, changes and deletes.
 *
 * @module
 */
import { formatChange } from "../../../tree/changes.ts";
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = (context) =>
  context.readSnapshots((snapshotter) => {
    const key = findKey(context, snapshotter, context.operands[0]);
    const changes = snapshotter.changes(key, context.options.value("parent"));
    context.output.list(changes, ({ kind, path }) => ({ kind, path }), formatChange);
  });
