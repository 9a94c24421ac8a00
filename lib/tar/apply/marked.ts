/**
 * Applying a tar to a layer that is marked incomplete: the mark is removed when the whole tar is
 * applied.
 *
 * @module
 */
import { O_DIRECTORY, O_RDONLY, syncfs, withFd } from "../../../ffi/files.ts";
import type { SyncMode } from "../../base/sync_mode.ts";
import type { TransferOptions } from "../../base/transfer_options.ts";
import { openWithoutLinks } from "../../tree/confined.ts";
import { applyTar, type TarInput } from "./apply.ts";
import type { ApplyOptions, ApplyTarget } from "./apply_options.ts";

/** A layer under the mark of an apply. */
export interface MarkedLayer {
  readonly target: ApplyTarget;
  /**
   * Completes the applied files in the driver's form.
   *
   * @param directory the target's directory, open for reading
   */
  finish(directory: number): void;
  /**
   * Fails if not all of it could be stored.
   *
   * @param directory the target's directory, open for reading
   */
  ensureStored(directory: number): void;
  /**
   * Writes the layer out for the mode `layer`. Left out if that is done later.
   *
   * @param directory as above
   */
  writeOut?(directory: number): void;
  /** Removes the mark; if `sync` is true, that is on disk when it returns. */
  markComplete(sync: boolean): void;
}

/** The settings of {@linkcode applyMarked}. */
export interface ApplyMarkedOptions
  extends
    Pick<ApplyOptions, "idMaps" | "workers" | "warn" | "log">,
    Pick<TransferOptions, "onProgress" | "provenWhole" | "beforeComplete"> {
  /** The data that is on disk before the layer counts as complete. */
  readonly sync: SyncMode;
}

/**
 * Applies a tar to a layer that its caller marked incomplete, and removes the mark.
 *
 * @returns bytes of the files applied
 * @throws the tar engine's error, or one of the layer's functions; the layer is then incomplete
 */
export function applyMarked(
  input: TarInput,
  layer: MarkedLayer,
  { sync, idMaps, workers, warn, onProgress, provenWhole, beforeComplete, log }: ApplyMarkedOptions,
): number {
  const { directory: path, whiteouts, lowers } = layer.target;
  return withFd(openWithoutLinks(path, O_RDONLY | O_DIRECTORY), (directory) => {
    const options = { whiteouts, lowers, idMaps, workers, warn, onProgress, provenWhole, log };
    const { size } = applyTar(input, directory, options);
    beforeComplete?.(directory);
    layer.finish(directory);
    layer.ensureStored(directory);
    if (sync === "filesystem") syncfs(directory, path);
    if (sync === "layer") layer.writeOut?.(directory);
    layer.markComplete(
      sync === "filesystem" || sync === "layer" && layer.writeOut !== undefined,
    );
    return size;
  });
}
