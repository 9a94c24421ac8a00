/**
 * `veneer image export`: writes an image in the formats of other tools.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import type { ImageFormat, Packing } from "../../../images/export.ts";
import { exportOfDocker } from "../../../images/docker/export.ts";
import type { Run } from "../context.ts";
import { sourceDate } from "../../source_date.ts";
import { tarOutput } from "../../tar_output.ts";

export const run: Run = async (context) => {
  const { options, operands: [text], output } = context;
  context.checkDockerOptions();
  const format = (options.value("format") ?? "hybrid") as ImageFormat;
  const packing = (options.value("compress") ?? "gzip") as Packing;
  const file = format === "oci-dir" ? options.value("output") ?? "-" : tarOutput(options);
  if (format === "oci-dir" && file === "-") {
    throw new VeneerError("usage", "--format oci-dir writes a directory: name it with -o DIR");
  }
  const time = sourceDate() ?? 0;
  const onChanged = options.flag("allow-changed")
    ? (line: string) => output.warn(`${line}; it is written as it is, and the image has another id`)
    : undefined;
  const written = { format, packing, output: file, time, onChanged };
  const exported = options.value("docker") === undefined
    ? await context.changeImages((images) => images.export(text, written))
    : await context.readDocker((store) => exportOfDocker(store, text, written));
  if (output.json && file !== "-") output.result({ ...exported, file }, () => []);
};
