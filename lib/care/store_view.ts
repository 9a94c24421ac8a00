/**
 * Opens a store only for reading: nothing is made, mended or locked, and no access time changes.
 *
 * The home is read through a detached copy of its mount, read-only and without access times (Linux
 * 5.12; with older kernels the times of directories and links may change). So nothing visible is
 * mounted, mounts below the home do not show in the copy, and the copy goes away with its
 * descriptor.
 *
 * @module
 */
import { join } from "@std/path";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  tryOpen as tryOpenTrusted,
} from "../../ffi/files.ts";
import { tryCloneProtected } from "../../ffi/fsmount.ts";
import { messageOf } from "../base/errors.ts";
import { OWN } from "../store/home.ts";
import { type ConfinedPath, ConfinedRoot, list, tryLstat } from "../tree/confined.ts";

/** A directory that exists, and cannot be listed. */
export interface Unread {
  readonly path: string;
  /** An error's message. */
  readonly reason: string;
}

/** A home that is open for reading. The caller disposes of it. */
export class StoreView implements Disposable {
  /** The directories that could not be listed, and why: their names are not known. */
  readonly unread: Unread[] = [];

  private constructor(
    /** The store's root, `--root`. */
    readonly root: string,
    readonly home: ConfinedRoot,
    readonly descriptor: number,
    /** The driver's own options, `-o`. */
    readonly options: ReadonlyMap<string, string>,
  ) {}

  /**
   * Opens a home; `undefined` if it does not exist, or is not a directory.
   *
   * @param store its path relative to `root`: a driver's name; for snapshots with `snapshots/`
   * before it
   */
  static open(
    root: string,
    store: string,
    options: ReadonlyMap<string, string> = new Map(),
  ): StoreView | undefined {
    const path = join(root, store);
    const directory = tryOpenTrusted(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (directory < 0) return undefined;
    const copy = tryCloneProtected(directory), held = copy < 0 ? directory : copy;
    if (copy >= 0) close(directory);
    const real = Deno.realPathSync(path);
    return new StoreView(root, ConfinedRoot.through(real, held), held, options);
  }

  get path(): string {
    return this.home.path;
  }

  /** A path below the home. */
  join(...parts: string[]): ConfinedPath {
    return this.home.join(...parts);
  }

  /** A path among Veneer's own records. */
  own(...parts: string[]): ConfinedPath {
    return this.home.join(OWN, ...parts);
  }

  /** The names in the staging directory, of layers that may be in the making or in removal. */
  staged(): ReadonlySet<string> {
    return new Set(this.names(this.own("staging")));
  }

  /**
   * Whether an apply to a layer was begun and not finished. After a failed apply the layer of a
   * snapshot is made again. If the process is killed before that, the layer is missing, and the
   * next apply makes it.
   */
  isIncomplete(layer: string): boolean {
    return !layer.includes("/") && tryLstat(this.own("incomplete", layer)) !== undefined;
  }

  /** The names in a directory; none if it does not exist, or joins {@linkcode unread}. */
  names(path: ConfinedPath): string[] {
    try {
      return list(path);
    } catch (error) {
      this.unread.push({ path: path.text, reason: messageOf(error) });
      return [];
    }
  }

  [Symbol.dispose](): void {
    close(this.descriptor);
  }
}

/** A store's home below its root. */
export const homeOf = (
  { of, driver }: { readonly of: "layers" | "snapshots"; readonly driver: string },
): string => of === "layers" ? driver : `snapshots/${driver}`;
