/** Helpers for cases with trees: make entries, and read a tree as plain data. */
import { entryAt } from "./entry_at.ts";
import { createHash } from "node:crypto";
import { encode } from "../../ffi/cstring.ts";
import { readListing } from "../../ffi/directory.ts";
import { close, O_DIRECTORY, O_RDONLY, open, openat, tryRead, withFd } from "../../ffi/files.ts";
import { lchown, mknod } from "../../ffi/paths.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { makedev, readlinkat, S_IFCHR, Times, tryLutimensat } from "../../ffi/names.ts";
import { descriptorPath, lgetxattr, llistxattr, tryLsetxattr } from "../../ffi/xattr.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { isOverlayXattr } from "../../lib/tree/whiteouts.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import type { Random } from "./random.ts";
import { lines } from "./trees.ts";

/** Opens directories, runs `use` on them and closes them. */
export function withDirectories<T>(paths: readonly string[], use: (...fds: number[]) => T): T {
  const fds = paths.map((path) => open(path, O_RDONLY | O_DIRECTORY));
  try {
    return use(...fds);
  } finally {
    fds.forEach(close);
  }
}

/** The comparison of two directories as lines; the parent is `""` for none. */
export function compared(parent: string, child: string): string[] {
  if (parent === "") {
    return withDirectories([child], (fd) => lines(compareTrees(undefined, fd)));
  }
  return withDirectories([parent, child], (a, b) => lines(compareTrees(a, b)));
}

/** A time long before this run: 2001-09-09, with a fraction. */
export const OLD = 1_000_000_000;
export const OLD_NANOS = 123_456_789;

/** Sets an entry's modification time; that of the link itself, if it is one. */
export function setTime(path: string, seconds = OLD, nanos = OLD_NANOS): void {
  unwrap(
    entryAt(
      path,
      (dirfd, name) => tryLutimensat(dirfd, name, new Times().set(seconds, nanos, seconds, nanos)),
    ),
    "utimensat",
    path,
  );
}

/** Writes a file with a fixed time. */
export function put(path: string, content = "", mode = 0o644): void {
  Deno.writeTextFileSync(path, content);
  Deno.chmodSync(path, mode);
  setTime(path);
}

export function makeNode(path: string, mode: number, major = 0, minor = 0): void {
  mknod(path, mode, makedev(major, minor));
}

export const chown = (path: string, uid: number, gid: number) => lchown(path, uid, gid);

/** Makes an exact copy of a tree with GNU cp. */
export function copyTree(from: string, to: string): void {
  const { success, stderr } = new Deno.Command("cp", { args: ["-a", from, to] }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** All properties of every entry below a directory, one line for each path. */
export function describe(root: string): string[] {
  const found: string[] = [];
  const inodes = new Map<bigint, string>();
  const stat = new Stat();
  walk(open(root, O_RDONLY | O_DIRECTORY), "");
  return found;

  function walk(fd: number, path: string): void {
    withFd(fd, () => {
      const listing = readListing(fd);
      for (const [i, text] of listing.names.entries()) {
        const name = listing.name(i), entry = `${path}/${text}`;
        unwrap(tryStatat(fd, name, stat), "statx", entry);
        const { mode, uid, gid, seconds, nanos, size, inode } = stat;
        const parts = [JSON.stringify(entry), mode.toString(8), `${uid}:${gid}`];
        const directory = stat.isDirectory;
        parts.push(`${seconds}.${nanos}`);
        if (stat.isDevice) parts.push(`${stat.rdevMajor}:${stat.rdevMinor}`);
        if (stat.isSymlink) parts.push(`-> ${readlinkat(fd, name)}`);
        if (!directory && stat.links > 1) {
          if (!inodes.has(inode)) inodes.set(inode, entry);
          parts.push(`is ${JSON.stringify(inodes.get(inode))}`);
        }
        if (stat.isFile) parts.push(`${size} bytes ${digest(openat(fd, name, O_RDONLY))}`);
        const magic = descriptorPath(fd, text);
        for (const key of llistxattr(magic)) {
          if (isOverlayXattr(key)) continue;
          parts.push(`${key}=${lgetxattr(magic, key)?.toHex()}`);
        }
        found.push(parts.join(" "));
        if (directory) walk(openat(fd, name, O_RDONLY | O_DIRECTORY), entry);
      }
    });
  }
}

/** The beginning of an open file's SHA-256; closes the file. */
function digest(fd: number): string {
  const hash = createHash("sha256");
  const piece = new Uint8Array(1 << 16);
  return withFd(fd, () => {
    for (let got; (got = unwrap(tryRead(fd, piece), "read")) > 0;) {
      hash.update(piece.subarray(0, got));
    }
    return hash.digest("hex").slice(0, 16);
  });
}

/**
 * Does one random operation in a tree, by system calls that a program would make. If it is
 * impossible, nothing happens.
 */
export function operate(root: string, random: Random): void {
  const pick = () =>
    `${root}/` + Array.from({ length: 1 + random(3) }, () => "abc"[random(3)]).join("/");
  const path = pick(), other = pick();
  const operations = [
    () => Deno.mkdirSync(path),
    () => Deno.mkdirSync(path, { recursive: true }),
    () => put(path, ["", "x", "y", "long content"][random(4)]),
    () => Deno.writeTextFileSync(path, "appended", { append: true }),
    () => Deno.removeSync(path),
    () => Deno.removeSync(path, { recursive: true }),
    () => {
      Deno.removeSync(path, { recursive: true });
      Deno.mkdirSync(path);
    },
    () => Deno.renameSync(path, other),
    () => Deno.linkSync(path, other),
    () => Deno.symlinkSync("abc"[random(3)], path),
    () => Deno.chmodSync(path, 0o700 + random(2)),
    () => chown(path, random(2), 0),
    () => setTime(path),
    () => tryLsetxattr(path, "user.x", encode(String(random(2)))),
    () => Deno.openSync(path, { read: true, write: true }).close(),
    () => makeNode(path, S_IFCHR | 0o600, 1, 3 + random(2)),
  ];
  try {
    operations[random(operations.length)]();
  } catch {
    // There is no such entry, or it is of another type: that is a valid case as well.
  }
}
