/**
 * Snapshots that a client mounts with mapped ids, for a container in a user namespace. The image's
 * layers keep the ids of the image, so containers with different maps can use them without a copy.
 *
 * The client gives the maps in two labels, and maps the ids of an overlay's lower layers when it
 * mounts them. The upper layer is not mapped: it has host ids, including those of its root.
 *
 * containerd before 2.0 sends the labels, too, but cannot make such mounts: it changes the owners
 * in a copy of the image, whose ids must not be mapped again. A call does not show which of the two
 * is meant. So there is an option, which must match the capability `remap-ids` in containerd's
 * configuration.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { IdMap, type IdMaps, MAX_RANGES } from "../base/id_maps.ts";
import { parseBoolean } from "../base/options.ts";
import type { SnapshotBackend } from "./backend.ts";
import { shown } from "./keys.ts";
import type { Labels } from "./snapshotter.ts";

/** The key of the `-o` option. */
export const REMAP_OPTION = "snapshot.remap";

/** The labels of containerd's `core/snapshots`. */
export const UID_LABEL = "containerd.io/snapshot/uidmapping";
export const GID_LABEL = "containerd.io/snapshot/gidmapping";

/** Reads the option. @throws {VeneerError} `invalid argument` with its rule */
export function parseRemap(text = "false"): boolean {
  return parseBoolean(text, REMAP_OPTION);
}

/**
 * Refuses the option if the store does not support it.
 *
 * @param idMaps the maps with which the store is opened
 * @throws {VeneerError} `not supported` with the reason, `invalid argument` if the store has id
 * maps
 */
export function requireRemap(backend: SnapshotBackend, { uids, gids }: IdMaps): void {
  if (!uids.isIdentity || !gids.isIdentity) {
    throw new VeneerError(
      "invalid argument",
      `${REMAP_OPTION} is for layers that have the ids of their images; open the store without id maps of its own`,
    );
  }
  if (backend.checkRemap !== undefined) return backend.checkRemap(REMAP_OPTION);
  throw new VeneerError(
    "not supported",
    `${REMAP_OPTION}: containerd maps the ids of overlay mounts alone, and ${backend.name} makes none; ` +
      "leave it out, and containerd makes a copy of the image with other owners",
  );
}

/**
 * The maps in a snapshot's labels; `undefined` if there are none.
 *
 * @throws {VeneerError} `invalid argument` with the label and the rule that it breaks
 */
export function remapOf(labels: Labels): IdMaps | undefined {
  const uids = labels.get(UID_LABEL), gids = labels.get(GID_LABEL);
  if (uids === undefined && gids === undefined) return undefined;
  return { uids: parse(UID_LABEL, uids), gids: parse(GID_LABEL, gids) };
}

function parse(label: string, text: string | undefined): IdMap {
  if (text === undefined) {
    const other = label === UID_LABEL ? GID_LABEL : UID_LABEL;
    throw invalid(label, `it is missing, and ${other} is there`);
  }
  const ranges = text.split(",");
  if (ranges.length > MAX_RANGES) {
    throw invalid(
      label,
      `it has ${ranges.length} ranges, and the kernel takes ${MAX_RANGES}`,
    );
  }
  try {
    const map = IdMap.parse(ranges);
    map.root; // Throws if root is not mapped.
    return map;
  } catch (error) {
    if (!(error instanceof VeneerError)) throw error;
    throw invalid(label, error.message);
  }
}

const invalid = (label: string, rule: string) =>
  new VeneerError("invalid argument", `label ${shown(label)}: ${rule}`);
