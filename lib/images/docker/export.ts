/**
 * Writing images out of a store of Docker's.
 *
 * @module
 */
import { dirname } from "@std/path";
import {
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  open,
  tryReopen,
  withFd,
} from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
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
  const openSpool = () => openTemporary(directory);
  using spool = new Spool(openSpool());
  return await exportImage(image, { tars: images.tars, spool, openSpool }, options);
}

function openTemporary(directory: string): number {
  return withFd(
    open(directory, O_RDONLY | O_DIRECTORY),
    (fd) => unwrap(tryReopen(fd, O_TMPFILE | O_RDWR, 0o600), "open", directory),
  );
}
