/**
 * The id maps that layers were made with, at `<home>/.veneer/id-maps/<id>`: the user ids' ranges on
 * one line, the group ids' on the next, each as `--uidmap` takes them.
 *
 * A layer's files carry host ids, and nothing in them tells of a map. A layer that was made without
 * one, or by Docker, has no record, and is read with the maps that the store was opened with.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { Home } from "./home.ts";
import { formatIdMap, IdMap, type IdMaps, MAX_RANGES } from "../base/id_maps.ts";
import { readMetadata, removeMetadata, writeMetadata } from "./metadata.ts";

const DIRECTORY = "id-maps";

/** Both maps, each range at most 32 characters long. */
const MAX_LENGTH = 2 * MAX_RANGES * 33;

/**
 * The maps that a layer was made with, or `undefined` if they are not recorded.
 *
 * @throws {VeneerError} `corrupt store` with the path, for an invalid record
 */
export function recordedIdMaps(home: Home, id: string): IdMaps | undefined {
  const path = home.own(DIRECTORY, id);
  const text = readMetadata(path);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (error) {
    throw new VeneerError(
      "corrupt store",
      `${path} is not a record of id maps; write the users' map into its first line and the groups' into ` +
        "its second, such as 0:100000:65536, or remove the layer",
      { cause: error },
    );
  }
}

function parse(text: string): IdMaps {
  const lines = text.split("\n");
  if (lines.length !== 2 || text.length > MAX_LENGTH) throw new RangeError("not two lines");
  const [uids, gids] = lines.map((line) => line === "" ? new IdMap() : IdMap.parse([line]));
  return { uids, gids };
}

/**
 * The maps by which a driver owns a layer's directories: the recorded ones, else those that the
 * store was opened with, also for a damaged record. Reading or writing a layer's content reports
 * the damage; taking the layer down must work.
 */
export function idMapsOf(home: Home, id: string, opened: IdMaps): IdMaps {
  try {
    return recordedIdMaps(home, id) ?? opened;
  } catch (error) {
    if (error instanceof VeneerError && error.code === "corrupt store") return opened;
    throw error;
  }
}

/** Records a layer's maps; on disk when this returns. Maps that change nothing need no record. */
export function recordIdMaps(home: Home, id: string, idMaps: IdMaps): void {
  if (isIdentity(idMaps)) return forgetIdMaps(home, id);
  writeMetadata(home.own(DIRECTORY, id), text(idMaps));
}

/** Forgets the maps of a layer that is gone. */
export function forgetIdMaps(home: Home, id: string): void {
  removeMetadata(home.own(DIRECTORY, id), false);
}

/** Whether no id stands for another. */
export function isIdentity({ uids, gids }: IdMaps): boolean {
  return uids.isIdentity && gids.isIdentity;
}

/**
 * Checks the maps that a store was opened with against a layer's record. Without any the layer's
 * are meant.
 *
 * @param recorded the recorded maps; `undefined` for none
 * @returns the maps that hold
 * @throws {VeneerError} `invalid argument` with both, if they differ
 */
export function reconcile(id: string, recorded: IdMaps | undefined, opened: IdMaps): IdMaps {
  if (recorded === undefined) return opened;
  if (isIdentity(opened) || text(opened) === text(recorded)) return recorded;
  throw new VeneerError(
    "invalid argument",
    `layer ${id} was made with ${describe(recorded)}, not with ${describe(opened)}; ` +
      "leave the maps out, and the layer's own are used",
  );
}

const text = ({ uids, gids }: IdMaps) => `${formatIdMap(uids)}\n${formatIdMap(gids)}`;

/** For messages. */
function describe({ uids, gids }: IdMaps): string {
  const words = (ids: string, map: IdMap) =>
    map.isIdentity ? `no map of ${ids} ids` : `${ids} ids ${formatIdMap(map)}`;
  return `${words("user", uids)} and ${words("group", gids)}`;
}
