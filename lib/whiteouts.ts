/**
 * Whiteouts: how a layer writes down that something of its parent is gone.
 *
 * In a tar (and on aufs, where the form comes from) an empty file `.wh.NAME` hides `NAME`, and
 * `.wh..wh..opq` hides all that the parent has in that directory. Overlay has a character device 0:0 of the
 * hidden name, and the attribute `trusted.overlay.opaque` on the directory.
 *
 * @module
 */

/**
 * How deletions stand in a directory:
 * - `overlay`: character devices 0:0 and opaque attributes;
 * - `aufs`: the tar's own form, kept as it is;
 * - `none`: not at all: the directory is a complete tree, so applying a whiteout removes what it names.
 */
export type WhiteoutForm = "overlay" | "aufs" | "none";

/** The prefix of a whiteout's name in a tar. */
export const WHITEOUT_PREFIX = ".wh.";

/** The prefix of aufs's own metadata; but for {@linkcode OPAQUE_MARKER} none of it belongs to a layer. */
export const WHITEOUT_META_PREFIX = ".wh..wh.";

/** The entry that makes its directory opaque. */
export const OPAQUE_MARKER = ".wh..wh..opq";

/** Overlay's mark of an opaque directory (`Documentation/filesystems/overlayfs.rst`); the value is `y`. */
export const OVERLAY_OPAQUE_XATTR = "trusted.overlay.opaque";

/** Whether an attribute is overlay's own: such ones are never applied from a tar and never exported. */
export function isOverlayXattr(name: string): boolean {
  return name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.");
}
