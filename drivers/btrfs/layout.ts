/**
 * The paths of a btrfs store: Docker's layout, and Veneer's records beside it.
 *
 * ```text
 * <home>/subvolumes/<id>                  a layer: a subvolume
 * <home>/quotas/<id>                      its size limit in bytes, decimal, if it has one
 * <home>/.veneer/parents/<id>             its parent
 * <home>/.veneer/staging/<id>/…           a layer being made, or on its way out
 * <home>/.veneer/staging/.<name>/…        snapshots that a diff compares
 * <home>/.veneer/qgroups/<subvolume>      a qgroup that goes when the kernel lets it
 * <home>/.veneer/quota                    exists if Veneer turned quotas on
 * ```
 *
 * @module
 */
import { entryName } from "../../ffi/entry_name.ts";
import { withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { fchown } from "../../ffi/names.ts";
import { BTRFS_FIRST_FREE_OBJECTID } from "../../ffi/btrfs_subvolume.ts";
import {
  type ConfinedPath,
  isDirectory,
  list,
  makeDirectory,
  openDirectory,
} from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { isId } from "../../lib/base/ids.ts";
import { readMetadata, removeMetadata, writeMetadata } from "../../lib/store/metadata.ts";

/** The name of a layer in its staging directory. */
export const LAYER = "layer";
export const LAYER_NAME = entryName(LAYER);

/** Paths and records of one store. */
export class Layout {
  constructor(readonly home: Home) {}

  /**
   * Makes the missing directories. As with Docker, root owns them, and container root may enter the
   * directory of layers.
   */
  make({ gids }: IdMaps): void {
    if (makeDirectory(this.layers, 0o710)) {
      withFd(openDirectory(this.layers), (fd) => fchown(fd, 0, gids.root));
    }
    makeDirectory(this.home.join("quotas"), 0o700);
    makeDirectory(this.home.own("qgroups"), 0o700);
  }

  /** The directory of the layers. */
  get layers(): ConfinedPath {
    return this.home.join("subvolumes");
  }

  layer(id: string): ConfinedPath {
    return this.home.join("subvolumes", id);
  }

  exists(id: string): boolean {
    return isDirectory(this.layer(id));
  }

  list(): string[] {
    return list(this.layers).filter(isId);
  }

  /**
   * Runs `use` on a layer's open root.
   *
   * @throws {VeneerError} `corrupt store` if it is a plain directory
   */
  withLayer<T>(id: string, use: (subvolume: number) => T): T {
    const path = this.layer(id);
    return withFd(
      openDirectory(path),
      (fd) => use(openedSubvolume(fd, path, `remove layer ${id} and create it again`)),
    );
  }

  /**
   * The size limit recorded for a layer, in bytes; `undefined` if there is none.
   *
   * @throws {VeneerError} `corrupt store` if the record is not a number
   */
  recordedSize(id: string): number | undefined {
    const path = this.#size(id);
    const text = readMetadata(path);
    if (text === undefined) return undefined;
    const size = /^\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(size)) return size;
    throw new VeneerError(
      "corrupt store",
      `${path} holds ${
        JSON.stringify(text.slice(0, 40))
      }, not a number of bytes; correct or remove it`,
    );
  }

  recordSize(id: string, bytes: number): void {
    writeMetadata(this.#size(id), String(bytes), 0o644);
  }

  forgetSize(id: string): void {
    removeMetadata(this.#size(id), false);
  }

  /** Whether any layer has a size limit. */
  hasSizes(): boolean {
    return list(this.home.join("quotas")).some((id) => this.exists(id));
  }

  #size(id: string): ConfinedPath {
    return this.home.join("quotas", id);
  }
}

/**
 * Returns the open directory, if it is the root of a subvolume.
 *
 * @param path the subvolume's path; it and `remedy` are for the message
 * @throws {VeneerError} `corrupt store` if it is a plain directory
 */
export function openedSubvolume(fd: number, path: ConfinedPath, remedy: string): number {
  if (isSubvolume(fd)) return fd;
  throw new VeneerError(
    "corrupt store",
    `${path} is a directory, not a subvolume, so it is not a layer of this driver; ${remedy}`,
  );
}

/** Whether an open directory is the root of a subvolume. */
export function isSubvolume(fd: number): boolean {
  return fstat(fd).inode === BTRFS_FIRST_FREE_OBJECTID;
}
