/**
 * Marks that keep root itself from changing an inode: immutable and append-only (`chattr(1)`).
 *
 * A container's root can set them in a layer, and a child of that layer inherits them. Operations
 * on a layer from outside take precedence: the marks in their way are removed. Only marks of the
 * layer's own copy are: a parent is never changed. They are not restored, since a tar cannot hold
 * them.
 *
 * @module
 */
import type { EntryName } from "../../ffi/entry_name.ts";
import { EPERM } from "../../ffi/errno.ts";
import {
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_INSIDE,
  RESOLVE_NO_XDEV,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import { clearProtection } from "../../ffi/inode_flags.ts";

/** Takes the marks from an entry that is a file or a directory; other types have none. */
export function unprotect(directory: number, name: EntryName): void {
  const fd = tryOpenat2(
    directory,
    name,
    O_RDONLY | O_NONBLOCK,
    RESOLVE_INSIDE | RESOLVE_NO_XDEV,
  );
  if (fd >= 0) withFd(fd, clearProtection);
}

/**
 * Does something to a directory, and if marks forbid it, once more without them.
 *
 * @param act returns a result or `-errno`
 * @param name an entry whose marks are removed as well
 */
export function liftingProtection(directory: number, act: () => number, name?: EntryName): number {
  const result = act();
  if (result !== -EPERM) return result;
  clearProtection(directory);
  if (name !== undefined) unprotect(directory, name);
  return act();
}
