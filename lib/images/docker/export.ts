/**
 * Exports images of Docker stores.
 *
 * @module
 */
import { dirname } from "@std/path";
import { openTemporaryFile } from "../../base/temporary_file.ts";
import type { Exported, ExportOptions } from "../export.ts";
import { Spool } from "../spool.ts";
import { exportImage } from "../write_image.ts";
import type { DockerStore } from "./store.ts";

/**
 * The directory that keeps the layers until all are verified, if the image goes to standard output.
 */
const TEMPORARY = "/var/tmp";

/** Exports an image of a store. @throws as `exportImage` */
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
