/**
 * A driver's home, `<root>/<driver>`, and what Veneer keeps in it beside the driver's own layout.
 *
 * ```text
 * <home>/.veneer/staging/<id>      a layer being made or being deleted; readers never look here
 * <home>/.veneer/incomplete/<id>   set before the first entry of an apply, taken away after the last
 * <home>/.veneer/parents/<id>      the parent's id, for layouts that have no place for it
 * ```
 *
 * A name in `staging` belongs to whoever holds that layer's lock; where nobody does, it is what a killed
 * process left, and the next open deletes it.
 *
 * @module
 */
import { dirname, join } from "@std/path";
import { encode } from "../ffi/cstring.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  open,
  withFd,
  writeAll,
  writeBack,
} from "../ffi/files.ts";
import { EEXIST, ENOENT } from "../ffi/errno.ts";
import { readNames } from "../ffi/directory.ts";
import { lchown, tryMkdir } from "../ffi/paths.ts";
import { lstat, tryLstat } from "../ffi/stat.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { VeneerError } from "./errors.ts";
import type { IdMaps } from "./id_maps.ts";
import { readMetadata, removeMetadata, writeMetadata } from "./metadata.ts";

/** The directory of Veneer's own records in a home; no layer id begins with a dot. */
const OWN = ".veneer";

/**
 * Traversable, not listable, by the group of container root, so that a mapped container reaches its own
 * mounts; nothing for others.
 */
const HOME_MODE = 0o710;

/** A driver's home directory. */
export class Home {
  private constructor(
    /** Absolute and free of symbolic links. */
    readonly path: string,
    readonly device: string,
    readonly inode: bigint,
  ) {}

  /**
   * Opens a home, making what is missing of it.
   *
   * @param mode of the home itself where it is made
   */
  static open(root: string, driver: string, idMaps: IdMaps, mode = HOME_MODE): Home {
    makeDirectories(root, 0o711);
    const path = join(Deno.realPathSync(root), driver);
    if (makeDirectory(path, mode)) lchown(path, 0, idMaps.gids.root);
    const stat = lstat(path);
    if (!stat.isDirectory) {
      throw new VeneerError("incompatible", `${path} is not a directory; choose another --root`);
    }
    const home = new Home(path, `${stat.devMajor}:${stat.devMinor}`, stat.inode);
    for (const name of ["", "staging", "incomplete", "parents"]) {
      makeDirectory(join(path, OWN, name), 0o700);
    }
    return home;
  }

  /** A path below the home. */
  join(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** A path among Veneer's own records, for those that one driver alone keeps. */
  own(...parts: string[]): string {
    return join(this.path, OWN, ...parts);
  }

  /** Where a layer is made before it is renamed into place, and put before it is deleted. */
  staging(id: string): string {
    return join(this.path, OWN, "staging", id);
  }

  /** Whether something is staged under an id. */
  isStaged(id: string): boolean {
    return tryLstat(this.staging(id)) !== undefined;
  }

  /** The ids that something is staged under. */
  staged(): string[] {
    return list(join(this.path, OWN, "staging"));
  }

  /** Whether an apply to the layer was begun and not finished. */
  isIncomplete(id: string): boolean {
    return tryLstat(this.#incomplete(id)) !== undefined;
  }

  /** Sets the mark of an apply that begins; it is on disk when this returns. */
  markIncomplete(id: string): void {
    writeMetadata(this.#incomplete(id), "");
  }

  /**
   * Takes the mark away. Where `sync` is false it may come back after a power failure, together with
   * whatever of the content was not written: then the layer is incomplete, which it is.
   */
  markComplete(id: string, sync: boolean): void {
    removeMetadata(this.#incomplete(id), sync);
  }

  /** The recorded parent; `""` for none, `undefined` where there is no record. */
  recordedParent(id: string): string | undefined {
    return readMetadata(this.#parent(id));
  }

  /**
   * Records a layer's parent; on disk when this returns. Where `sync` is false the file system has it, and
   * writes it out with whatever it writes next: for a layer that is not in place yet and comes with a commit.
   */
  recordParent(id: string, parent: string | undefined, { sync = true } = {}): void {
    if (sync) return writeMetadata(this.#parent(id), parent ?? "");
    withFd(open(this.#parent(id), O_WRONLY | O_CREAT | O_TRUNC, 0o600), (fd) => {
      writeAll(fd, encode(parent ?? ""));
      writeBack(fd);
    });
  }

  /** Forgets what is recorded of a layer that is gone. */
  forget(id: string): void {
    removeMetadata(this.#parent(id), false);
    removeMetadata(this.#incomplete(id), false);
  }

  #incomplete(id: string): string {
    return join(this.path, OWN, "incomplete", id);
  }

  #parent(id: string): string {
    return join(this.path, OWN, "parents", id);
  }
}

/** The names in a directory, sorted; none where it does not exist. */
export function list(path: string): string[] {
  return tryLstat(path) === undefined ? [] : withFd(open(path, O_RDONLY | O_DIRECTORY), readNames);
}

/** The path itself, or the nearest directory above it that exists: for what is known before a home is made. */
export function nearestExisting(path: string): string {
  return tryLstat(path) === undefined ? nearestExisting(dirname(path)) : path;
}

/** Makes a directory; false where it was there. */
export function makeDirectory(path: string, mode: number): boolean {
  const result = tryMkdir(path, mode);
  if (result === -EEXIST) return false;
  unwrap(result, "mkdir", path);
  return true;
}

/** Makes a directory and the ones above it that are missing. */
export function makeDirectories(path: string, mode: number): void {
  const result = tryMkdir(path, mode);
  if (result === -ENOENT) {
    makeDirectories(join(path, ".."), mode);
    makeDirectory(path, mode);
  } else if (result !== -EEXIST) {
    unwrap(result, "mkdir", path);
  }
}
