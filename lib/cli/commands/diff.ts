/**
 * `veneer diff`: writes the changes of a layer as a tar.
 *
 * @module
 */
import { STDOUT_FILENO } from "../../../ffi/files.ts";
import { writeOutputFile } from "../output_file.ts";
import { openProgress } from "../progress.ts";
import { VeneerError } from "../../base/errors.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const file = options.value("output") ?? "-";
  if (file === "-" && Deno.stdout.isTerminal()) {
    throw new VeneerError("usage", "a tar is not for a terminal; write it to a file with -o FILE");
  }
  const driver = await context.open();
  const id = context.layerId(driver);
  const parent = context.parentId(driver);
  const write = (fd: number) => {
    using progress = openProgress(`diff ${id}`);
    return driver.diff(id, parent, fd, { onProgress: (bytes) => progress?.update(bytes) });
  };
  if (file === "-") return void write(STDOUT_FILENO);
  const bytes = writeOutputFile(file, write);
  if (output.json) output.result({ id, file, bytes }, () => []);
};
