/**
 * A driver's home, `<root>/<driver>`, and Veneer's own records in it beside the driver's layout.
 *
 * ```text
 * <home>/.veneer/staging/<id>      a layer being made or being deleted; readers never look here
 * <home>/.veneer/incomplete/<id>   set before the first entry of an apply, removed after the last
 * <home>/.veneer/parents/<id>      the parent's id, for layouts that have no place for it
 * <home>/.veneer/id-maps/<id>      the id maps that it was made with, if any (`id_map_records.ts`)
 * <home>/.veneer/children          an index of layers' parents (`graph/children_index.ts`)
 * ```
 *
 * A name in `staging` belongs to the holder of that layer's lock; without a holder it was left by a
 * killed process, and the next open deletes it.
 *
 * @module
 */
import { dirname, join } from "@std/path";
import { entryName } from "../../ffi/entry_name.ts";
import { EEXIST, ELOOP, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { close, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, tryOpenat } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { tryMkdir } from "../../ffi/paths.ts";
import { statfs } from "../../ffi/statfs.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { fchown, tryMkdirat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import {
  birthOf,
  type ConfinedPath,
  ConfinedRoot,
  exists,
  isDirectory,
  list,
  makeDirectory,
  rename,
} from "../tree/confined.ts";
import { VeneerError } from "../base/errors.ts";
import type { IdMaps } from "../base/id_maps.ts";
import { isKernelAtLeast } from "../base/kernel.ts";
import type { Warn } from "../base/warn.ts";
import { makeMark, readMetadata, removeMetadata, writeFile, writeMetadata } from "./metadata.ts";
import { requireTrustedOwner } from "./trusted_owner.ts";

/** The directory of Veneer's own records in a home; no layer id begins with a dot. */
export const OWN = ".veneer";

/** The directories in it that every driver has. */
export const OWN_DIRECTORIES = ["staging", "incomplete", "parents", "id-maps"] as const;

/**
 * Traversable, not listable, by the group of container root, so that a mapped container reaches its
 * own mounts; nothing for others.
 */
const HOME_MODE = 0o710;

/** How a home is opened. */
export interface HomeOptions {
  /** Of the home itself if it is made. */
  readonly mode?: number;
  /** Gets a line about each damaged file that was moved away. */
  readonly warn?: Warn;
}

/** A driver's home directory. */
export class Home {
  private constructor(readonly root: ConfinedRoot) {}

  /**
   * Opens a home and creates its missing directories.
   *
   * @param store the home's path below `root`: a driver's name, of snapshots behind `snapshots/`
   * @throws {VeneerError} `incompatible` if the home, or a directory between it and `root`, is not
   * a directory, or others can write to it
   */
  static open(
    root: string,
    store: string,
    idMaps: IdMaps,
    { mode = HOME_MODE, warn = () => {} }: HomeOptions = {},
  ): Home {
    requireOpenat2();
    makeDirectories(root, 0o711);
    using way = new Way(Deno.realPathSync(root), idMaps);
    const above = store.split("/"), name = above.pop()!;
    for (const directory of above) way.enter(directory, 0o711);
    way.enter(name, mode, idMaps.gids.root);
    const home = new Home(ConfinedRoot.of(way.path, way.directory));
    way.enter(OWN, 0o700);
    home.root.hold(() => {
      for (const path of OWN_DIRECTORIES.map((name) => home.own(name))) {
        if (isDirectory(path)) continue;
        if (exists(path)) home.#putAside(path, way.directory, warn);
        makeDirectory(path, 0o700);
      }
    });
    return home;
  }

  /**
   * Renames a file that stands in place of a directory; one process at a time, so that no other
   * renames the new directory.
   */
  #putAside(path: ConfinedPath, own: number, warn: Warn): void {
    if (isDirectory(path) || !tryLock(own, "exclusive", path.text) || isDirectory(path)) return;
    const aside = path.withSuffix(`.damaged-${crypto.randomUUID()}`);
    rename(path, aside);
    warn(`${path} was not a directory: it was moved to ${aside}, and an empty directory made`);
  }

  /** Absolute; its last component is not a symbolic link. */
  get path(): string {
    return this.root.path;
  }

  /** `major:minor` of the home's file system. */
  get device(): string {
    return `${this.root.major}:${this.root.minor}`;
  }

  get inode(): bigint {
    return this.root.inode;
  }

  /** Whether its file system is read-only now: layers can then only be read. */
  get isReadOnly(): boolean {
    return statfs(this.path).readOnly;
  }

  /** @throws {VeneerError} `failed precondition` if it {@linkcode isReadOnly} */
  requireWritable(): void {
    if (!this.isReadOnly) return;
    throw new VeneerError(
      "failed precondition",
      `${this.path} is on a read-only file system, so its layers can only be read; \`mount -o remount,rw\` it first`,
    );
  }

  /** A path below the home. */
  join(...parts: string[]): ConfinedPath {
    return this.root.join(...parts);
  }

  /** A path among Veneer's own records, for those that one driver alone keeps. */
  own(...parts: string[]): ConfinedPath {
    return this.root.join(OWN, ...parts);
  }

  /**
   * The directory in which a layer is created before it is renamed into place, and to which it is
   * moved before it is deleted.
   */
  staging(id: string): ConfinedPath {
    return this.own("staging", id);
  }

  /** Whether something is staged under an id. */
  isStaged(id: string): boolean {
    return exists(this.staging(id));
  }

  /** The ids that something is staged under. */
  staged(): string[] {
    return list(this.own("staging"));
  }

  /** Whether an apply to the layer was begun and not finished. */
  isIncomplete(id: string): boolean {
    return exists(this.#incomplete(id));
  }

  /** The layers with an apply that was begun and not finished. */
  incomplete(): ReadonlySet<string> {
    return new Set(list(this.own("incomplete")));
  }

  /** Sets the mark of an apply that begins; it is on disk when this returns. */
  markIncomplete(id: string): void {
    makeMark(this.#incomplete(id));
  }

  /**
   * Removes the mark. If `sync` is false, a power failure may bring it back together with the loss
   * of unwritten content; the layer is then rightly incomplete.
   */
  markComplete(id: string, sync: boolean): void {
    removeMetadata(this.#incomplete(id), sync);
  }

  /**
   * The recorded parent; `""` for none, `undefined` if it is not recorded.
   *
   * @throws {VeneerError} `corrupt store` for an invalid record
   */
  recordedParent(id: string): string | undefined {
    return readMetadata(this.#parent(id));
  }

  /** When that was recorded first, in microseconds since 1970; `undefined` if it is unknown. */
  parentRecordedAt(id: string): number | undefined {
    return birthOf(this.#parent(id));
  }

  /**
   * Records a layer's parent; on disk when this returns. If `sync` is false, it is written with the
   * file system's next commit: for a layer that is not in place yet and appears by such a commit.
   */
  recordParent(id: string, parent: string | undefined, { sync = true } = {}): void {
    if (sync) return writeMetadata(this.#parent(id), parent ?? "");
    writeFile(this.#parent(id), parent ?? "", { reach: "file system" });
  }

  /** Removes the records of a removed layer. */
  forget(id: string): void {
    removeMetadata(this.#parent(id), false);
    removeMetadata(this.#incomplete(id), false);
  }

  #incomplete(id: string): ConfinedPath {
    return this.own("incomplete", id);
  }

  /** The directory of the records of parents. */
  get parents(): ConfinedPath {
    return this.own("parents");
  }

  #parent(id: string): ConfinedPath {
    return this.parents.join(id);
  }
}

/**
 * The way from `--root` down to a home: each directory is made if it is missing, entered through no
 * link, and must be one that only root can write to.
 */
class Way implements Disposable {
  #directory: number;

  /** @param path of a directory above the home, which links may lead to */
  constructor(public path: string, readonly idMaps: IdMaps) {
    this.#directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    requireTrustedOwner(this.#directory, path, idMaps);
  }

  /** A descriptor of the directory reached so far. */
  get directory(): number {
    return this.#directory;
  }

  /** @param gid the group of the directory if it is created */
  enter(name: string, mode: number, gid = 0): void {
    const entry = entryName(name), path = join(this.path, name);
    const made = tryMkdirat(this.#directory, entry, mode);
    if (made !== -EEXIST) unwrap(made, "mkdir", path);
    const fd = tryOpenat(this.#directory, entry, O_RDONLY | O_DIRECTORY);
    if (fd === -ENOTDIR || fd === -ELOOP) {
      throw new VeneerError("incompatible", `${path} is not a directory`, {
        remedy: { kind: "other root" },
      });
    }
    unwrap(fd, "open", path);
    close(this.#directory);
    this.#directory = fd;
    this.path = path;
    if (made === 0) fchown(fd, 0, gid);
    requireTrustedOwner(fd, path, this.idMaps);
  }

  [Symbol.dispose](): void {
    close(this.#directory);
  }
}

/**
 * Creates a directory of stores below a root, such as a service's, and checks the way to it as
 * {@linkcode Home.open} checks the way to a home.
 *
 * @returns its absolute path
 * @throws {VeneerError} `incompatible`
 */
export function openStoresDirectory(
  root: string,
  names: readonly string[],
  idMaps: IdMaps,
): string {
  makeDirectories(root, 0o711);
  using way = new Way(Deno.realPathSync(root), idMaps);
  for (const name of names) way.enter(name, 0o711);
  return way.path;
}

/**
 * The directory of a store below a root, or the nearest one above it that exists: for questions
 * before a home is created. Below the root no link is followed.
 */
export function nearestExisting(root: string, store: string): string {
  let path = root;
  while (tryLstat(`${path}/.`) === undefined) path = dirname(path);
  if (path !== root) return path;
  for (const name of store.split("/")) {
    if (!tryLstat(join(path, name))?.isDirectory) break;
    path = join(path, name);
  }
  return path;
}

/**
 * Checks for `openat2`, which keeps every path inside its store.
 *
 * @throws {VeneerError} `not supported`
 */
function requireOpenat2(): void {
  if (isKernelAtLeast(5, 6)) return;
  throw new VeneerError(
    "not supported",
    `kernel ${Deno.osRelease()} has no openat2, which is in Linux 5.6 and later`,
  );
}

/** Makes a directory and the ones above it that are missing. */
export function makeDirectories(path: string, mode: number): void {
  const result = tryMkdir(path, mode);
  if (result === -ENOENT) {
    makeDirectories(join(path, ".."), mode);
    const again = tryMkdir(path, mode);
    if (again !== -EEXIST) unwrap(again, "mkdir", path);
  } else if (result !== -EEXIST) {
    unwrap(result, "mkdir", path);
  }
}
