/**
 * Snapshots' layers as directories, for drivers that join directories by a union mount:
 *
 * ```text
 * snapshots/<layer>/fs     the layer's changes: the directory that a mount writes to, or shows
 * snapshots/<layer>/work   the mount's own, if the driver's kind of mount needs one
 * snapshots/<layer>/lower  empty: of a layer that is mounted over nothing
 * ```
 *
 * This is containerd's layout. A layer is made in the home's staging directory and then renamed
 * into place; before its deletion it is renamed back.
 *
 * Only {@linkcode LayerDirectories.writeOut} syncs. A power failure may delete a directory whose
 * snapshot is recorded, together with its unsynced content: the layer is then reported as missing
 * ({@linkcode LayerDirectories.require}). It may also bring back a deleted directory, which then
 * belongs to no snapshot and is deleted by the next cleanup.
 *
 * @module
 */
import { EBUSY, EEXIST, ENOENT, ENOTEMPTY } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, withFd } from "../../ffi/files.ts";
import { AT_REMOVEDIR, RENAME_NOREPLACE } from "../../ffi/names.ts";
import { fstat, S_BLKSIZE, Stat } from "../../ffi/stat.ts";
import {
  type ConfinedPath,
  ConfinedRoot,
  exists,
  isDirectory,
  list,
  makeDirectory,
  openDirectory,
  refuseLinks,
  removeTree,
  tryOpen,
  tryRename,
  tryUnlink,
  unwrapConfined,
  within,
} from "../../lib/tree/confined.ts";
import { storeTree } from "../../lib/tree/store_tree.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { isId } from "../../lib/base/ids.ts";
import { makeLayerRoot, makeOwned } from "./layer_root.ts";
import type { LayerChain } from "../../lib/snapshots/backend.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";
import { diskUsage } from "./disk_usage.ts";

const LAYERS = "snapshots";

/** The options for making a layer; see {@linkcode LayerDirectories.make}. */
export interface MakeOptions {
  readonly work: boolean;
  readonly lower?: boolean;
  readonly endsWork?: boolean;
  readonly begin?: (directory: ConfinedPath) => void;
  readonly remap?: IdMaps;
}

/** The layers of a home. */
export class LayerDirectories {
  constructor(readonly home: Home, readonly idMaps: IdMaps) {
    makeDirectory(home.join(LAYERS), 0o700);
  }

  /** The directory of a layer's content, relative to the home. */
  fs(layer: string): string {
    return `${LAYERS}/${layer}/fs`;
  }

  /** The paths of several layers' content, as text. */
  paths(layers: readonly string[]): string[] {
    return layers.map((layer) => this.path(layer).text);
  }

  /** The directory `work` beside the content, relative to the home. */
  work(layer: string): string {
    return `${LAYERS}/${layer}/work`;
  }

  /** The empty directory that is mounted below a layer without a parent, relative to the home. */
  lower(layer: string): string {
    return `${LAYERS}/${layer}/lower`;
  }

  /** Whether a layer has that directory. */
  hasLower(layer: string): boolean {
    return isDirectory(this.home.join(this.lower(layer)));
  }

  /** The directory of a layer's content. */
  path(layer: string): ConfinedPath {
    return this.home.join(this.fs(layer));
  }

  /**
   * Creates a layer's directories. Its `fs` gets the owner, mode, attributes and times of its
   * parent's. Anything already stored under its id is deleted.
   *
   * @param options.work whether to make the directory `work`, too
   * @param options.lower whether to make the empty directory `lower`, too
   * @param options.endsWork whether to remove the parent's `work` and `lower`, if they are unused:
   * the parent is no longer mounted for writing
   * @param options.begin called with the layer's directory while it is still empty
   * @param options.remap the maps with which the parents are mounted below it
   */
  make(layer: string, parent: string | undefined, options: MakeOptions): void {
    // Each of these calls would open the home by itself, which takes longer than the call.
    this.home.root.hold(() => {
      if (parent === undefined) return this.#make(layer, undefined, options);
      this.#inLayer(parent, (directory) => {
        if (options.endsWork) endWork(directory);
        this.#make(layer, directory.join("fs"), options);
      });
    });
  }

  /** Runs `use` on the directory of a layer. @throws {VeneerError} as {@linkcode require} */
  #inLayer(layer: string, use: (directory: ConfinedRoot) => void): void {
    const directory = tryOpen(this.directory(layer), O_RDONLY | O_DIRECTORY);
    if (directory < 0) this.require(layer);
    const fd = unwrapConfined(directory, "open", this.directory(layer));
    withFd(fd, () => {
      const root = ConfinedRoot.through(this.directory(layer).text, fd);
      if (!isDirectory(root.join("fs"))) this.require(layer);
      use(root);
    });
  }

  #make(
    layer: string,
    parentRoot: ConfinedPath | undefined,
    { work, lower, begin, remap }: MakeOptions,
  ): void {
    const staged = this.home.staging(layer);
    if (!makeDirectory(staged, 0o700)) {
      removeTree(staged);
      makeDirectory(staged, 0o700);
    }
    begin?.(staged);
    const { uids, gids } = this.idMaps;
    within(staged, (made) => {
      makeLayerRoot(made.join("fs"), parentRoot, this.idMaps, remap);
      if (work) makeOwned(made.join("work"), 0o700, uids.root, gids.root);
      if (lower) makeOwned(made.join("lower"), 0o755, uids.root, gids.root);
    });
    const place = this.directory(layer);
    unwrapConfined(tryMove(staged, place), "rename", place);
  }

  /** @throws {VeneerError} `corrupt store` if the directory of a layer's content is missing */
  require(layer: string): void {
    const path = this.path(layer);
    if (isDirectory(path)) return;
    throw new VeneerError(
      "corrupt store",
      `${path} is ${
        exists(path) ? "not a directory" : "missing"
      }; remove its snapshot and those on it, and prepare them again`,
    );
  }

  /**
   * Refuses links in the paths of a mount's options, which the kernel would follow. Missing layers
   * are refused by the mount.
   *
   * @throws {VeneerError} `corrupt store`
   */
  refuseLinks({ layer, parents }: LayerChain): void {
    this.home.root.hold(() => {
      for (const id of [layer, ...parents]) refuseLinks(this.path(id));
      for (const own of [this.work(layer), this.lower(layer)]) refuseLinks(this.home.join(own));
    });
  }

  /** The same for a layer that was just made, by which it and its parent were checked. */
  refuseLinksBelow({ parents }: LayerChain): void {
    const rest = parents.slice(1);
    if (rest.length === 0) return;
    this.home.root.hold(() => rest.forEach((id) => refuseLinks(this.path(id))));
  }

  /**
   * Deletes a layer in any state.
   *
   * @param end called with the layer's directory before its deletion
   * @throws {VeneerError} `in use` if something is mounted in it
   */
  remove(layer: string, end: (directory: ConfinedPath) => void = () => {}): void {
    const place = this.directory(layer), staged = this.home.staging(layer);
    const result = tryMove(place, staged);
    if (result === -EBUSY) {
      throw new VeneerError("in use", `${place} is a mount point; unmount it first`);
    }
    if (result !== -ENOENT) unwrapConfined(result, "rename", place);
    end(staged);
    removeTree(staged);
  }

  /** The sorted ids of all layers, including those that are being made or deleted. */
  list(): string[] {
    const ids = [...list(this.home.join(LAYERS)), ...this.home.staged()].filter(isId);
    return [...new Set(ids)].sort();
  }

  /**
   * The space that a layer adds to its parent.
   *
   * @param isOwn returns true for names of the driver's own entries, which are not counted
   * @throws {VeneerError} `corrupt store`
   */
  usage(layer: string, isOwn?: (name: string) => boolean): Usage {
    return withFd(this.#opened(layer), (fd) => diskUsage(fd, isOwn));
  }

  /**
   * The space of a layer's own directories: its directory with all entries except `fs`, and the
   * inode of `fs` without its content.
   */
  usageBeside(layer: string): Usage {
    const stat = new Stat();
    const beside = withFd(
      openDirectory(this.directory(layer)),
      (fd) => {
        const { bytes, inodes } = diskUsage(fd, (name) => name === "fs");
        fstat(fd, stat);
        return { bytes: bytes + stat.blocks * S_BLKSIZE, inodes: inodes + 1 };
      },
    );
    withFd(this.#opened(layer), (fd) => fstat(fd, stat));
    return { bytes: beside.bytes + stat.blocks * S_BLKSIZE, inodes: beside.inodes + 1 };
  }

  /** Writes a layer's content to disk, with all names on the path to it. */
  writeOut(layer: string): void {
    withFd(
      this.#opened(layer),
      (fd) => withFd(openDirectory(this.home.join()), (home) => storeTree(fd, home)),
    );
  }

  /** @throws {VeneerError} as {@linkcode require} */
  #opened(layer: string): number {
    try {
      return openDirectory(this.path(layer));
    } catch (error) {
      this.require(layer);
      throw error;
    }
  }

  directory(layer: string): ConfinedPath {
    return this.home.join(LAYERS, layer);
  }
}

/**
 * Removes the `work` and `lower` in the directory of a layer that is no longer mounted for writing.
 * In `work`, a mount leaves only an empty directory `work`; anything else there is deleted with the
 * layer.
 */
function endWork(directory: ConfinedRoot): void {
  const work = directory.join("work");
  const remove = (path: ConfinedPath) => tryUnlink(path, AT_REMOVEDIR);
  remove(directory.join("lower"));
  if (remove(work) !== -ENOTEMPTY) return;
  remove(work.join("work"));
  remove(work);
}

/** Renames a directory; returns the raw result. An existing entry of the new name is deleted. */
function tryMove(from: ConfinedPath, to: ConfinedPath): number {
  const move = () => tryRename(from, to, RENAME_NOREPLACE);
  const result = move();
  if (result !== -EEXIST) return result;
  removeTree(to);
  return move();
}
