/**
 * Makes an image of a container of a Docker store: its image with a layer of the container's
 * changes.
 *
 * @module
 */
import { close } from "../../../ffi/files.ts";
import { IDENTITY } from "../../base/id_maps.ts";
import type { Warn } from "../../base/warn.ts";
import { type CommitImageOptions, newConfig } from "../commit.ts";
import { changed } from "../config_changes.ts";
import { checkCount, parseConfig } from "../config.ts";
import { digestOf, newHash } from "../digest.ts";
import type { FoundImage } from "../found_image.ts";
import { parseJson } from "../json.ts";
import { piecesOf } from "../spool.ts";
import type { DockerStore } from "./store.ts";

/** The parts that a commit uses. */
export interface ContainerCommitContext {
  /** Opens an empty file for a layer's tar, on a disk with room for it. */
  readonly openSpool: () => number;
  /** Gets a line about each entry that a tar cannot hold. */
  readonly warn: Warn;
  /** Closes the sources of the result. */
  readonly scope: DisposableStack;
}

/**
 * The image to import.
 *
 * @param text the container's name or id, as for `DockerContainers.find`
 */
export function imageOfContainer(
  { images, containers }: DockerStore,
  text: string,
  options: CommitImageOptions,
  { openSpool, warn, scope }: ContainerCommitContext,
): FoundImage {
  const { id, imageId } = containers.find(text, warn);
  const below = containers.layersBelow(id);
  checkCount(below.length + 1, `an image of container ${id}`);
  const run = changed(containers.runConfig(id), options.changes ?? []);

  const fd = scope.adopt(openSpool(), close), hash = newHash("sha256");
  using changes = new DisposableStack();
  const size = containers.changes(id, changes).export(fd, { idMaps: IDENTITY, warn });
  for (const bytes of piecesOf(fd)) hash.update(bytes);
  const diffId = digestOf("sha256", hash);

  const base = images.tryConfig(imageId);
  const previous = base === undefined ? {} : parseJson(base, imageId) as Record<string, unknown>;
  const diffIds = [...below.map(({ diffId }) => diffId), diffId];
  const config = newConfig(previous, run, diffIds, { ...options, madeOf: "a container" });
  const bytes = new TextEncoder().encode(JSON.stringify(config));
  const file = { fd, offset: 0, size, [Symbol.dispose]: () => {} };
  const layer = { what: `layer ${diffId} of container ${id}`, digest: undefined, open: () => file };
  return {
    config: parseConfig(bytes, `an image of container ${id}`),
    manifest: undefined,
    names: [],
    layers: [...images.layersToImport(below, openSpool), layer],
  };
}
