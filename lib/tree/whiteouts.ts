/**
 * Whiteouts: how a layer writes down that something of its parent is gone.
 *
 * In a tar (and on aufs, from which the form comes) an empty file `.wh.NAME` hides `NAME`, and
 * `.wh..wh..opq` hides all entries of the parent in that directory. Overlay has a character device
 * 0:0 of the hidden name, and the attribute `trusted.overlay.opaque` on the directory.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/**
 * How deletions stand in a directory:
 * - `overlay`: character devices 0:0 and opaque attributes;
 * - `aufs`: the tar's own form, kept as it is;
 * - `none`: no marks: the directory is a complete tree, so applying a whiteout removes the entry
 *   that it names.
 */
export type WhiteoutForm = "overlay" | "aufs" | "none";

/** The prefix of a whiteout's name in a tar. */
export const WHITEOUT_PREFIX = ".wh.";

/**
 * The prefix of aufs's own metadata; but for {@linkcode OPAQUE_MARKER} none of it belongs to a
 * layer.
 */
export const WHITEOUT_META_PREFIX = ".wh..wh.";

/** The entry that makes its directory opaque. */
export const OPAQUE_MARKER = ".wh..wh..opq";

/** Whether a name is aufs's own metadata, which belongs to no layer. */
export function isWhiteoutMetadata(name: string): boolean {
  return name.startsWith(WHITEOUT_META_PREFIX) && name !== OPAQUE_MARKER;
}

/**
 * Overlay's mark of an opaque directory (`Documentation/filesystems/overlayfs.rst`); the value is
 * `y`.
 */
export const OVERLAY_OPAQUE_XATTR = "trusted.overlay.opaque";

/**
 * Overlay's marks of an entry whose content is elsewhere
 * (`Documentation/filesystems/overlayfs.rst`), and the parameter of the module with which it writes
 * and follows them: a directory was renamed, or a file's attributes were changed without copying it
 * up.
 */
export const OVERLAY_REFERENCES = [
  ["trusted.overlay.redirect", "redirect_dir"],
  ["trusted.overlay.metacopy", "metacopy"],
] as const;

/**
 * Refuses to read an upper directory with lowers if an attribute marks content as elsewhere: the
 * part that can be read would be taken for all of it. Drivers do not read it if overlay is known to
 * write such marks now, but overlay may have been set to do so earlier.
 *
 * @param attributes the names of an entry's attributes
 * @throws {VeneerError} `failed precondition`
 */
export function checkOverlayReferences(attributes: readonly string[]): void {
  const reference = OVERLAY_REFERENCES.find(([name]) => attributes.includes(name));
  if (reference === undefined) return;
  const [name, parameter] = reference;
  throw new VeneerError(
    "failed precondition",
    `an entry of the layer has ${name}, and only a mount with ${parameter} on can read it: write Y to ` +
      `/sys/module/overlay/parameters/${parameter} and try again`,
  );
}

/**
 * Whether an attribute is overlay's own: such ones are never applied from a tar and never exported.
 *
 * Those that a container wrote through its mount, because it runs containers itself, are of this
 * kind as well: on Linux 6.7 and later the upper directory has them as `trusted.overlay.overlay.…`,
 * which is not about this layer; earlier kernels refused them. On other file systems they are
 * stored as written.
 */
export function isOverlayXattr(name: string): boolean {
  return name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.");
}
