/**
 * The beginning of an apply of a tar to a layer, which is all or nothing.
 *
 * The layer is marked incomplete, on disk, before the first entry, and the mark is removed after
 * the last. A process killed in between leaves a layer that cannot be mounted or built on. So does
 * a failure, which also frees the space if the layer was empty before. Applying to an incomplete
 * layer starts it over. Input that is not a tar is refused before the layer is touched.
 *
 * @module
 */
import type { LayerBackend } from "./backend.ts";
import { isIdentity, reconcile, recordedIdMaps, recordIdMaps } from "../store/id_map_records.ts";

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
