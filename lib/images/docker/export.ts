/**
 * Writing images out of a store of Docker's.
 *
 * @module
 */
import { dirname } from "@std/path";
import { openTemporaryFile } from "../../base/temporary_file.ts";
import type { Exported, ExportOptions } from "../export.ts";
import { Spool } from "../spool.ts";
import { exportImage } from "../write_image.ts";
import type { DockerStore } from "./store.ts";

/** Where layers are kept until all are verified, if the image goes to standard output. */
const TEMPORARY = "/var/tmp";

/** Writes an image of a store out. @throws as `exportImage` */
export async function exportOfDocker(
  { images }: DockerStore,
  text: string,
  options: ExportOptions,
): Promise<Exported> {
  const image = images.written(text, options.time), { output } = options;
  const directory = output === "-"
    ? Deno.env.get("TMPDIR") || TEMPORARY
    : dirname(output.replace(/\/+$/, ""));
  const openSpool = () => openTemporaryFile(directory);
  using spool = new Spool(openSpool());
  return await exportImage(image, { tars: images.tars, spool, openSpool }, options);
}
