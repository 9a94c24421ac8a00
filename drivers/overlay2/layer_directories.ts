/**
 * Making the directories of an overlay2 layer beside `diff`, with the owners and modes that Docker gives them.
 *
 * @module
 */
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { makeOwned } from "../union/layer_root.ts";

/** `<id>`: container root's group may pass through to what is mounted below, nobody may list it. */
export function makeLayerDirectory(path: ConfinedPath, { gids }: IdMaps): void {
  makeOwned(path, 0o710, 0, gids.root);
}

/** `work`, which is overlay's own. */
export function makeWork(path: ConfinedPath, { uids, gids }: IdMaps): void {
  makeOwned(path, 0o700, uids.root, gids.root);
}
