/**
 * A store that is only looked at: nothing is made, mended or locked, and no time of access changes.
 *
 * The home is read through a copy of its mount that is attached nowhere, read-only and without times
 * of access (Linux 5.12; before that the times of directories and links may change). So nothing is
 * mounted over anything, mounts below the home are out of sight, and the copy is gone with its
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
import { tryCloneMount, tryProtectMount } from "../../ffi/fsmount.ts";
import { OWN } from "../store/home.ts";
import { type ConfinedPath, ConfinedRoot, list } from "../tree/confined.ts";

/** A home that is looked at. The caller disposes of it. */
export class StoreView implements Disposable {
  private constructor(
    /** The store's root, `--root`. */
    readonly root: string,
    readonly home: ConfinedRoot,
    readonly descriptor: number,
  ) {}

  /**
   * Opens a home; `undefined` if it does not exist, or is not a directory.
   *
   * @param store its path below `root`: a driver's name, of snapshots behind `snapshots/`
   */
  static open(root: string, store: string): StoreView | undefined {
    const path = join(root, store);
    const directory = tryOpenTrusted(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (directory < 0) return undefined;
    const copy = tryCloneMount(directory);
    const isProtected = copy >= 0 && tryProtectMount(copy) === 0;
    if (isProtected) close(directory);
    else if (copy >= 0) close(copy);
    const held = isProtected ? copy : directory;
    const real = Deno.realPathSync(path);
    return new StoreView(root, ConfinedRoot.through(real, held), held);
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

  /** The names that a layer being made or removed has in staging; each may be at work. */
  staged(): ReadonlySet<string> {
    return new Set(this.names(this.own("staging")));
  }

  /** The names in a directory; none if it is not one. */
  names(path: ConfinedPath): string[] {
    try {
      return list(path);
    } catch {
      return [];
    }
  }

  [Symbol.dispose](): void {
    close(this.descriptor);
  }
}
