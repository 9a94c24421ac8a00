/**
 * The trees of drivers that keep each layer in a directory: overlay2, aufs, btrfs.
 *
 * @module
 */
import type { FrozenDirectory } from "./frozen.ts";
import { type DockerTrees, openLayer } from "./trees.ts";

/** The form in which one driver keeps layers. */
export interface DirectoryForm {
  readonly form: DockerTrees["form"];
  /** The path of a layer's directory in the home. */
  path(id: string): string;
  /**
   * Shows layers as one tree, if each has only its own changes; see {@linkcode DockerTrees.whole}.
   */
  whole(
    home: FrozenDirectory,
    paths: readonly string[],
    scope: DisposableStack,
  ): number;
}

/** The trees of a home. This object closes the home. */
export class DirectoryTrees implements DockerTrees {
  readonly form: DockerTrees["form"];

  constructor(readonly home: FrozenDirectory, readonly directory: DirectoryForm) {
    this.form = directory.form;
  }

  open(id: string, scope: DisposableStack): number {
    return openLayer(this.home, this.directory.path(id), scope);
  }

  whole(ids: readonly string[], scope: DisposableStack): number {
    for (const id of ids) this.open(id, scope);
    return this.directory.whole(this.home, ids.map(this.directory.path), scope);
  }

  [Symbol.dispose](): void {
    this.home[Symbol.dispose]();
  }
}
