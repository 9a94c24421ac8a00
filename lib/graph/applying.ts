/**
 * Applying a tar to a layer: all or nothing.
 *
 * The layer is marked incomplete, on disk, before the first entry, and the mark is removed after
 * the last. A process killed in between leaves a layer that cannot be mounted or built on. So does
 * a failure, which also frees the space if the layer was empty before. Applying to an incomplete
 * layer starts it over. Input that is not a tar is refused before the layer is touched.
 *
 * @module
 */
import { O_DIRECTORY, O_RDONLY, syncfs, withFd } from "../../ffi/files.ts";
import { openWithoutLinks } from "../tree/confined.ts";
import type { LayerBackend } from "./backend.ts";
import type { ApplyTarget } from "../tar/apply/apply_options.ts";
import { isIdentity, reconcile, recordedIdMaps, recordIdMaps } from "../store/id_map_records.ts";
import type { IdMaps } from "../base/id_maps.ts";
import type { Warn } from "../base/warn.ts";
import { applyTar, type TarInput } from "../tar/apply/apply.ts";

/** The settings of {@linkcode applyMarked}. */
export interface ApplyContext {
  readonly backend: LayerBackend;
  /** The id maps of the layer. */
  readonly idMaps: IdMaps;
  /** Write the content out before the layer counts as complete. */
  readonly sync: boolean;
  /** How many Workers help: none or one. */
  readonly workers?: number;
  readonly warn: Warn;
  readonly onProgress?: (bytes: number) => void;
  /** See `TransferOptions`. */
  readonly provenWhole?: boolean | (() => boolean);
  readonly beforeComplete?: () => void;
}

/**
 * Prepares a layer for an apply, under its lock: starts an incomplete one over and sets the mark.
 *
 * The maps that the store was opened with are recorded with a layer that has none yet. A layer that
 * starts over may get others if its parent has none, since its old content is deleted.
 *
 * @returns whether the layer is still empty
 * @throws {VeneerError} `invalid argument` if the layer was made with other id maps
 */
export function beginApply(id: string, backend: LayerBackend): boolean {
  const { home, idMaps } = backend;
  const recorded = recordedIdMaps(home, id);
  const startsOver = home.isIncomplete(id), pristine = startsOver || backend.isPristine(id);
  const parent = backend.parent(id);
  const isBound = !startsOver || parent && recordedIdMaps(home, parent) !== undefined;
  if (isBound) reconcile(id, recorded, idMaps);
  const isNew = !isIdentity(idMaps) && (recorded === undefined || !isBound);
  home.markIncomplete(id);
  if (isNew) recordIdMaps(home, id, idMaps);
  // The root of a layer belongs to the root of its maps.
  if (startsOver || isNew && pristine) backend.reset(id);
  return pristine;
}

/**
 * Applies a tar to a layer that {@linkcode beginApply} marked, and removes the mark.
 *
 * @returns bytes of the files applied
 * @throws the tar engine's error; the layer is then incomplete
 */
export function applyMarked(
  id: string,
  input: TarInput,
  target: ApplyTarget,
  { backend, idMaps, sync, workers, warn, onProgress, provenWhole, beforeComplete }: ApplyContext,
): number {
  return withFd(openWithoutLinks(target.directory, O_RDONLY | O_DIRECTORY), (directory) => {
    const { size } = applyTar(input, directory, {
      whiteouts: target.whiteouts,
      lowers: target.lowers,
      idMaps,
      workers,
      warn,
      onProgress,
      provenWhole,
    });
    beforeComplete?.();
    backend.finishApply?.(id);
    backend.ensureStored?.(id, directory);
    if (sync) syncfs(directory, target.directory);
    backend.home.markComplete(id, sync);
    return size;
  });
}
