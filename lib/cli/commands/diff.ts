/**
 * `veneer diff`: writes the changes of a layer as a tar.
 *
 * @module
 */
import { STDOUT_FILENO } from "../../../ffi/files.ts";
import type { FileArgument } from "../../base/descriptors.ts";
import type { Compression } from "../../tar/read/compression.ts";
import { openProgress } from "../progress.ts";
import { tarOutput } from "../tar_output.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const file = tarOutput(options);
  const driver = await context.open();
  const id = context.layerId(driver);
  const parent = context.parentId(driver);
  const packing = options.value("compress") ?? "none";
  const write = packing === "none" ? directly : await compressor(packing as Compression);
  let bytes: number;
  {
    using progress = openProgress(`diff ${id}`);
    const onProgress = (bytes: number) => progress?.update(bytes);
    bytes = write(
      file === "-" ? STDOUT_FILENO : file,
      (to) => driver.diff(id, parent, to, { onProgress }),
    );
  }
  if (output.json && file !== "-") output.result({ id, file, bytes }, () => []);
};

/** Writes a tar to an output, and returns its bytes. */
type Write = (output: FileArgument, write: (output: FileArgument) => number) => number;

const directly: Write = (output, write) => write(output);

async function compressor(compression: Compression): Promise<Write> {
  const { withOutput } = await import("../../base/descriptors.ts");
  const { compressing } = await import("../../tar/compress/compress.ts");
  return (output, write) => withOutput(output, (fd) => compressing(compression, fd, write));
}
