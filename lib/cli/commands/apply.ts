/**
 * `veneer apply`: fills a layer from a tar.
 *
 * @module
 */
import { openProgress } from "../progress.ts";
import { inputSize, withTarInput } from "../tar_input.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, operands: [id, file = "-"], output } = context;
  const driver = await context.openToChange();
  const size = withTarInput(file, (input) => {
    using progress = openProgress(`apply ${id}`, inputSize(input, file));
    return driver.applyDiff(id, options.value("parent"), input, {
      onProgress: (bytes) => progress?.update(bytes),
      onWaiting: progress && ((bytes) => progress.update(bytes)),
    });
  });
  output.result({ id, size }, () => [String(size)]);
};
