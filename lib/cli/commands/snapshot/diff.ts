/**
 * `veneer snapshot diff`: writes the changes of a snapshot as a tar.
 *
 * @module
 */
import { STDOUT_FILENO } from "../../../../ffi/files.ts";
import { escapePath } from "../../../base/printable.ts";
import { openProgress } from "../../progress.ts";
import { tarOutput } from "../../tar_output.ts";
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = async (context) => {
  const { options, operands: [text], output } = context;
  const file = tarOutput(options);
  await context.readSnapshots((snapshotter) => {
    const key = findKey(context, snapshotter, text);
    let bytes: number;
    {
      using progress = openProgress(`diff ${escapePath(key)}`);
      bytes = snapshotter.diff(key, file === "-" ? STDOUT_FILENO : file, {
        parent: options.value("parent"),
        onProgress: (bytes) => progress?.update(bytes),
      });
    }
    if (output.json && file !== "-") output.result({ key, file, bytes }, () => []);
  });
};
