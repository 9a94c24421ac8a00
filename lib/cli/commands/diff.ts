/**
 * `veneer diff`: writes the changes of a layer as a tar.
 *
 * @module
 */
import { STDOUT_FILENO } from "../../../ffi/files.ts";
import { openProgress } from "../progress.ts";
import { tarOutput } from "../tar_output.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const file = tarOutput(options);
  const driver = await context.open();
  const id = context.layerId(driver);
  const parent = context.parentId(driver);
  let bytes: number;
  {
    using progress = openProgress(`diff ${id}`);
    bytes = driver.diff(id, parent, file === "-" ? STDOUT_FILENO : file, {
      onProgress: (bytes) => progress?.update(bytes),
    });
  }
  if (output.json && file !== "-") output.result({ id, file, bytes }, () => []);
};
