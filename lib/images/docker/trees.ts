/**
 * The trees of a Docker store's layers. Each storage driver has its own form of them.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY } from "../../../ffi/files.ts";
import { VeneerError } from "../../base/errors.ts";
import type { FrozenDirectory } from "./frozen.ts";

/** The layers of one store, which are read without changing anything. */
export interface DockerTrees extends Disposable {
  /**
   * The form of deletion marks in a layer's tree, which then has only its own changes; `none` if
   * the tree has all files of the layer.
   */
  readonly form: "overlay" | "aufs" | "none";

  /**
   * Opens the tree of a layer; `scope` closes it.
   *
   * @param id a name that was checked
   * @returns an open directory
   * @throws {VeneerError} `corrupt store` if it is missing
   */
  open(id: string, scope: DisposableStack): number;

  /**
   * Opens the tree with all files of a layer; `scope` closes it.
   *
   * @param ids the names of the layer and of those below it, uppermost first
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
