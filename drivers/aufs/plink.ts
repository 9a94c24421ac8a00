/**
 * Makes aufs's pseudo-links permanent.
 *
 * If a file with several names in a read-only branch is changed through one of them, aufs copies it
 * up under that name only. It remembers that the other names are the same file, but only until the
 * unmount; afterwards they show the old content. So before an unmount each such name is touched,
 * which makes aufs link it to the copy.
 *
 * aufs keeps the pseudo-links as names in the writable branch:
 * `.wh..wh.plnk/<inode in the mount>.<inode in the branch>`. Maintenance mode keeps other processes
 * from adding more meanwhile (`fs/aufs/plink.c`, `fs/aufs/procfs.c`). It begins when
 * `si=<id of the mount>` is written to `/proc/fs/aufs/plink_maint`, and ends when that descriptor
 * is closed. During it, only the *thread* that wrote and its descendants can access linked files of
 * the mount; all others wait. So everything here is done synchronously, by the thread that wrote.
 * `clean`, written to the same descriptor, makes aufs forget the links; then the names in the
 * branch are deleted.
 *
 * Names that a mount leaves behind, such as after a crash or umount(8), are wrong in the next
 * mount, whose inodes have other numbers: files would be touched that were never linked. So such
 * names are deleted before a mount ({@linkcode forgetPseudoLinks}), and their links are lost.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { type Listing, readListing } from "../../ffi/directory.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { EBUSY, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  open,
  tryOpenat,
  tryWrite,
  withFd,
} from "../../ffi/files.ts";
import { fstat, Stat, tryStatat } from "../../ffi/stat.ts";
import { tryFchmodat, tryLchownat, tryUnlinkat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { openWithoutLinks } from "../../lib/tree/confined.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import type { MountInfo } from "../../lib/mount/mountinfo.ts";
import { sleep } from "../../lib/base/sleep.ts";

/**
 * The file that starts maintenance mode: `AUFS_PLINK_MAINT_PATH` of `linux/aufs_type.h`, below
 * `/proc`.
 */
export const PLINK_MAINT = "/proc/fs/aufs/plink_maint";

/** `AUFS_WH_PLINKDIR` of `linux/aufs_type.h`. */
const PLINK_DIRECTORY = ".wh..wh.plnk";
const PLINK_NAME = entryName(PLINK_DIRECTORY);

/**
 * The number of retries if another program has the mount in maintenance, and the milliseconds
 * between them.
 */
const TRIES = 20, PAUSE = 100;

/**
 * Links all names of files that were copied up under another name.
 *
 * @param mount a mount of aufs that is still mounted
 * @param branch its writable branch
 * @param control {@linkcode PLINK_MAINT}
 * @throws {SyscallError} if a name was not linked, such as on a full disk; aufs still remembers it
 * then
 */
export function flushPseudoLinks(mount: MountInfo, branch: string, control = PLINK_MAINT): void {
  const options = mount.superOptions.split(",");
  const si = options.find((option) => /^si=[0-9a-f]+$/.test(option));
  if (si === undefined || options.includes("noplink")) return;
  withFd(open(control, O_WRONLY), (maintenance) => {
    enter(maintenance, si, control);
    withPlinkDirectory(branch, (links) => {
      const listing = readListing(links);
      if (listing.length === 0) return;
      const inodes = linkedInodes(links, listing);
      if (inodes.size > 0) touchAll(mount.mountPoint, inodes);
      write(maintenance, "clean", control);
      forgetAll(links, listing, branch);
    });
  });
}

/**
 * Deletes the pseudo-links that an earlier mount left.
 *
 * @param branch a branch that no mount writes to
 */
export function forgetPseudoLinks(branch: string): void {
  withPlinkDirectory(branch, (links) => forgetAll(links, readListing(links), branch));
}

/** Runs `use` on the open directory of a branch's pseudo-links, if it exists. */
function withPlinkDirectory(branch: string, use: (links: number) => void): void {
  const fd = withFd(
    openWithoutLinks(branch, O_RDONLY | O_DIRECTORY),
    (upper) => tryOpenat(upper, PLINK_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
  );
  if (fd === -ENOENT || fd === -ENOTDIR) return;
  withFd(unwrap(fd, "open", `${branch}/${PLINK_DIRECTORY}`), use);
}

function forgetAll(links: number, listing: Listing, branch: string): void {
  for (let i = 0; i < listing.length; i++) {
    const result = tryUnlinkat(links, listing.name(i));
    if (result === -ENOENT) continue;
    unwrap(result, "unlink", `${branch}/${PLINK_DIRECTORY}/${listing.names[i]}`);
  }
}

function enter(maintenance: number, si: string, control: string): void {
  for (let left = TRIES;; left--) {
    const result = tryWrite(maintenance, encode(si));
    if (result !== -EBUSY || left === 0) {
      unwrap(result, "write", control);
      return;
    }
    sleep(PAUSE);
  }
}

function write(maintenance: number, text: string, control: string): void {
  unwrap(tryWrite(maintenance, encode(text)), "write", control);
}

/**
 * The inode numbers, in the mount, of the files with pseudo-links: the first parts of the names. A
 * name counts only if it is a link to the file whose inode number in the branch is its second part,
 * and if that file has another name as well.
 */
function linkedInodes(directory: number, listing: Listing): Set<bigint> {
  const stat = new Stat();
  const inodes = new Set<bigint>();
  for (const [i, text] of listing.names.entries()) {
    const [, inode, own] = /^(\d+)\.(\d+)$/.exec(text) ?? [];
    if (inode === undefined || tryStatat(directory, listing.name(i), stat) < 0) continue;
    if (stat.inode === BigInt(own) && stat.links > 1) inodes.add(BigInt(inode));
  }
  return inodes;
}

/** A directory on the way down to the walk's position. */
interface Level {
  readonly listing: Listing;
  next: number;
}

/**
 * Touches all entries of a tree with one of the inode numbers, except directories and entries of
 * other mounts.
 */
function touchAll(root: string, inodes: ReadonlySet<bigint>): void {
  const stat = new Stat(), top = new Stat();
  withFd(openWithoutLinks(root, O_RDONLY | O_DIRECTORY), (fd) => {
    using stack = new DirectoryStack(fd);
    fstat(stack.fd, top);
    const levels: Level[] = [{ listing: readListing(stack.fd), next: 0 }];
    for (let level; (level = levels.at(-1));) {
      if (level.next === level.listing.length) {
        levels.pop();
        if (levels.length > 0) stack.leave();
        continue;
      }
      const name = level.listing.name(level.next++);
      const found = tryStatat(stack.fd, name, stat);
      if (found === -ENOENT) continue;
      unwrap(found, "statx", name);
      if (stat.isMountRoot) continue;
      if (stat.devMajor !== top.devMajor || stat.devMinor !== top.devMinor) continue;
      if (!stat.isDirectory) {
        if (inodes.has(stat.inode)) touch(stack.fd, name, stat);
        continue;
      }
      const entered = stack.tryEnter(name);
      if (entered === -ENOENT || entered === -ENOTDIR) continue;
      levels.push({ listing: readListing(unwrap(entered, "openat", name)), next: 0 });
    }
  });
}

/**
 * Sets an attribute to its current value, so that aufs links the name to the copy. For files this
 * is the mode: `chown` removes set-user-ID bits and capabilities even if it changes nothing.
 * Symbolic links have neither.
 */
function touch(directory: number, name: EntryName, stat: Stat): void {
  const KEEP = 0xffff_ffff;
  const result = stat.isSymlink
    ? tryLchownat(directory, name, KEEP, KEEP)
    : tryFchmodat(directory, name, stat.mode & 0o7777);
  if (result !== -ENOENT) unwrap(result, stat.isSymlink ? "lchown" : "chmod", name);
}
