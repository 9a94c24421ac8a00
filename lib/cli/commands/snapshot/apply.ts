/**
 * `veneer snapshot apply`: fills an active snapshot from a tar.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { openProgress } from "../../progress.ts";
import { inputSize, withTarInput } from "../../tar_input.ts";
import type { Run } from "../context.ts";

export const run: Run = (context) =>
  context.changeSnapshots((snapshotter) => {
    const { operands: [key, file = "-"], output } = context;
    const size = withTarInput(file, (input) => {
      using progress = openProgress(`apply ${escapePath(key)}`, inputSize(input, file));
      return snapshotter.applyDiff(key, input, {
        onProgress: (bytes) => progress?.update(bytes),
        onWaiting: progress && ((bytes) => progress.update(bytes)),
      });
    });
    output.result({ key, size }, () => [String(size)]);
  });
