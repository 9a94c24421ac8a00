/**
 * Performs the steps that mend one home. A replaced thing is moved to the quarantine by the rename
 * that puts the new one in its place.
 *
 * @module
 */
import { isReadOnly, setReadOnly } from "../../ffi/btrfs_subvolume.ts";
import { EEXIST, EINVAL, EROFS } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open as openTrusted, withFd } from "../../ffi/files.ts";
import { fchmod, RENAME_EXCHANGE, RENAME_NOREPLACE, S_IWGRP, S_IWOTH } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import type { Home } from "../store/home.ts";
import { idMapsOf } from "../store/id_map_records.ts";
import { readWhole, syncDirectory, writeFile } from "../store/metadata.ts";
import {
  type ConfinedPath,
  ConfinedRoot,
  exists,
  lstat,
  makeDirectory,
  openDirectory,
  rename,
  tryRename,
  trySymlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { makeOwned } from "../tree/make_owned.ts";
import type { Step } from "./mending.ts";
import type { Quarantine } from "./quarantine.ts";

/** The steps that change only files. */
export type FileStep = Exclude<Step, { do: "lose" | "rebuild" }>;

/** The permission bits that an adopted record keeps. */
const RECORD_BITS = 0o644;

/** Mends one home. The caller holds the locks of what it changes. */
export class Mender {
  /** @param docker the directory of Docker's records, `<root>/image/<driver>` */
  constructor(readonly home: Home, readonly quarantine: Quarantine, readonly docker: string) {}

  perform(step: FileStep): void {
    switch (step.do) {
      case "record":
        return this.replace(
          step.path,
          (path) => writeFile(path, step.text, { mode: step.mode, reach: "disk" }),
        );
      case "directory":
        return this.replace(step.path, (path) => this.#makeDirectory(path, step));
      case "link":
        return this.replace(
          step.path,
          (path) => unwrapConfined(trySymlink(step.target, path), "symlink", path),
        );
      case "adopt":
        return this.#adopt(step.path);
      case "close":
        return close(this.home.join(step.path));
      case "seal":
        return withFd(openDirectory(this.home.join(step.path)), (fd) => setReadOnly(fd, true));
      case "aside":
        return void this.moveAside(step.path);
      case "docker aside":
        return this.#moveDockersAside(step.path);
    }
  }

  #makeDirectory(path: ConfinedPath, { mode, layer }: { mode: number; layer?: string }): void {
    const { uids, gids } = layer === undefined ? IDENTITY : idMapsOf(this.home, layer, IDENTITY);
    makeOwned(path, mode, uids.root, gids.root);
  }

  /** @throws {VeneerError} `corrupt store` if it is not a file that could be a record */
  #adopt(at: string): void {
    const path = this.home.join(at);
    const text = readWhole(path);
    if (text === undefined) return;
    const mode = lstat(path).mode & RECORD_BITS | 0o600;
    this.replace(at, (place) => writeFile(place, text, { mode, reach: "disk" }));
  }

  /** Has something made in the quarantine, and exchanges it with the present entry of a path. */
  replace(at: string, make: (path: ConfinedPath) => void): void {
    const path = this.home.join(at), place = this.quarantine.place(at);
    make(place);
    let result = tryRename(place, path, RENAME_NOREPLACE);
    if (result === -EEXIST) result = tryRename(place, path, RENAME_EXCHANGE);
    // The file system cannot exchange two names.
    if (result === -EINVAL) {
      this.moveAside(at);
      rename(place, path);
    } else unwrapConfined(result, "rename", path);
    syncDirectory(path.parent);
    syncDirectory(place.parent);
  }

  /** Moves the entry of a path into the quarantine; `false` if it does not exist. */
  moveAside(at: string): boolean {
    const path = this.home.join(at);
    if (!isThere(path)) return false;
    const place = this.quarantine.place(at);
    const move = () => tryRename(path, place, RENAME_NOREPLACE);
    let result = move();
    if (result === -EROFS) {
      makeWritable(path);
      result = move();
    }
    unwrapConfined(result, "rename", path);
    syncDirectory(path.parent);
    syncDirectory(place.parent);
    return true;
  }

  /** Docker's records may be on another mount than the home, which may be a mount itself. */
  #moveDockersAside(at: string): void {
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const root = withFd(openTrusted(this.docker, flags), (fd) => ConfinedRoot.of(this.docker, fd));
    const path = root.join(at);
    if (!isThere(path)) return;
    const quarantine = root.join("veneer-quarantine"), run = quarantine.join(this.quarantine.name);
    makeDirectory(quarantine, 0o700);
    makeDirectory(run, 0o700);
    rename(path, run.join(at.replaceAll("/", "-")), RENAME_NOREPLACE);
    for (const changed of [path.parent, run, quarantine, root.join()]) syncDirectory(changed);
  }
}

/** Makes a read-only subvolume writable: a read-only one cannot be moved. */
function makeWritable(path: ConfinedPath): void {
  withFd(openDirectory(path), (fd) => {
    if (isReadOnly(fd)) setReadOnly(fd, false);
  });
}

/** Takes the write permission for a directory from group and others. */
function close(path: ConfinedPath): void {
  withFd(openDirectory(path), (fd) => {
    fchmod(fd, fstat(fd).mode & 0o7777 & ~(S_IWGRP | S_IWOTH));
  });
}

/** Whether a path exists. If something above it is not a directory, it does not. */
function isThere(path: ConfinedPath): boolean {
  try {
    return exists(path);
  } catch (error) {
    if (error instanceof VeneerError) return false;
    throw error;
  }
}
