/**
 * Mounts that other programs made inside a layer.
 *
 * A layer with such a mount could be taken out of sight, and then not be deleted, or, on btrfs, the
 * mount would go with it. So its removal is refused before it begins.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { readMountInfoWith, watchMountInfoWith } from "./mountinfo.ts";

/** A layer, for {@linkcode requireNothingMountedIn}. */
export interface LayerTrees {
  /** How messages name it: `layer base`. */
  readonly what: string;
  /** Its directories. */
  readonly trees: readonly string[];
  /** A part of their paths that is the layer's alone, without a space, comma or backslash. */
  readonly mark: string;
  /** Its own mount point, which does not count. */
  readonly own?: string;
  /** Whether this is asked often, by an opener that calls `endWatch` in the end. */
  readonly isWatched?: boolean;
}

/** @throws {VeneerError} `in use` with the mount point, if something else is mounted in it */
export function requireNothingMountedIn(
  { what, trees, mark, own, isWatched = false }: LayerTrees,
): void {
  const read = isWatched ? watchMountInfoWith : readMountInfoWith;
  const inner = read(mark).find(({ mountPoint }) =>
    mountPoint !== own &&
    trees.some((tree) => mountPoint === tree || mountPoint.startsWith(`${tree}/`))
  );
  if (inner === undefined) return;
  throw new VeneerError(
    "in use",
    `something is mounted in ${what}, at ${inner.mountPoint}; \`umount ${inner.mountPoint}\` first`,
  );
}
