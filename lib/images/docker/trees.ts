/**
 * The trees of a Docker store's layers, which each storage driver keeps in a form of its own.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY } from "../../../ffi/files.ts";
import { VeneerError } from "../../base/errors.ts";
import type { FrozenDirectory } from "./frozen.ts";

/** The layers of one store, read without a trace. */
export interface DockerTrees extends Disposable {
  /**
   * How deletions stand in a layer's tree, which then has its own changes alone; `none` if it has
   * all that the layer shows.
   */
  readonly form: "overlay" | "aufs" | "none";

  /**
   * Opens the tree of a layer; `scope` closes it.
   *
   * @param id a checked name
   * @returns an open directory
   * @throws {VeneerError} `corrupt store` if it is missing
   */
  open(id: string, scope: DisposableStack): number;

  /**
   * Opens all that a layer shows, likewise.
   *
   * @param ids the layer and those below it, uppermost first
   * @throws {VeneerError} `not supported` if this kernel cannot show it
   */
  whole(ids: readonly string[], scope: DisposableStack): number;
}

/** Opens a directory of a driver's home. @throws as {@linkcode DockerTrees.open} */
export function openLayer(
  home: FrozenDirectory,
  path: string,
  scope: DisposableStack,
): number {
  const fd = home.open(path, O_RDONLY | O_DIRECTORY);
  if (fd === undefined) {
    throw new VeneerError("corrupt store", `${home.path}/${path} is missing: its layer is damaged`);
  }
  return scope.adopt(fd, close);
}
