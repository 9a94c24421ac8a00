/**
 * The owners and labels of directories that the driver creates.
 *
 * @module
 */
import { cstring, decode } from "../../ffi/cstring.ts";
import { DT_DIR, readSomeEntries } from "../../ffi/directory.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { EOPNOTSUPP } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { fchmod, fchown } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { descriptorPath, entryPath, lgetxattr, tryLsetxattr } from "../../ffi/xattr.ts";
import { type ConfinedPath, openDirectory } from "../../lib/tree/confined.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";

const SELINUX_LABEL = "security.selinux";

/**
 * Gives an open directory the properties of an empty layer's root: owned by container root, mode
 * 0755.
 */
export function ownRoot(fd: number, { uids, gids }: IdMaps): void {
  fchown(fd, uids.root, gids.root);
  fchmod(fd, 0o755);
}

/** The SELinux label of an open directory, if it has one. */
export function labelOf(fd: number): string | undefined {
  const label = lgetxattr(descriptorPath(fd, "."), SELINUX_LABEL);
  return label && decode(label).replace(/\0$/, "");
}

/**
 * Labels a directory and everything below it, like `chcon -R`: a snapshot begins with the labels of
 * its source, and the new container may not read files with another label. Links are labelled, not
 * followed. No other program may write to the tree meanwhile.
 */
export function relabel(root: ConfinedPath, label: string): void {
  const value = cstring(label);
  withFd(openDirectory(root), (fd) => {
    setLabel(descriptorPath(fd, "."), value);
    using directories = new DirectoryStack(fd);
    const levels = [labelEntries(directories.fd, value)];
    for (let names; (names = levels.at(-1));) {
      const name = names.pop();
      if (name === undefined) {
        levels.pop();
        if (levels.length > 0) directories.leave();
      } else {
        unwrap(directories.tryEnter(name), "open", name);
        levels.push(labelEntries(directories.fd, value));
      }
    }
  });
}

/** Labels the entries of an open directory; returns its subdirectories. */
function labelEntries(directory: number, label: Uint8Array<ArrayBuffer>): EntryName[] {
  const subdirectories: EntryName[] = [];
  for (let some; (some = readSomeEntries(directory)).length > 0;) {
    for (const { name, type } of some) {
      setLabel(entryPath(directory, name), label);
      if (type === DT_DIR) subdirectories.push(name);
    }
  }
  return subdirectories;
}

function setLabel(path: string, label: Uint8Array<ArrayBuffer>): void {
  const result = tryLsetxattr(path, SELINUX_LABEL, label);
  if (result !== -EOPNOTSUPP) unwrap(result, `lsetxattr ${SELINUX_LABEL}`, path);
}
