/** Trees as lines to compare: those of a file system, and those of the model. */
import { createHash } from "node:crypto";
import { decode, encode } from "../../../ffi/cstring.ts";
import { readListing } from "../../../ffi/directory.ts";
import { O_DIRECTORY, O_RDONLY, open, openat, readToEnd, withFd } from "../../../ffi/files.ts";
import { fstat, Stat, tryStatat } from "../../../ffi/stat.ts";
import { readlinkat, S_IFBLK, S_IFCHR, S_IFIFO } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { descriptorPath, lgetxattr, llistxattr } from "../../../ffi/xattr.ts";
import { bytes } from "../../tar/support/tar_builder.ts";
import { entriesOf, type Model } from "./model.ts";

/** XFS shows access lists a second time; and a security module has labels of its own. */
const OF_HOST = /^trusted\.SGI_ACL|^security\.(selinux|ima|evm)/;

/** How lines are made. */
export interface LineOptions {
  /** A time from here on, in nanoseconds, is one of the run. */
  readonly since: bigint;
  /** Times of directories are left out. */
  readonly timeless?: boolean;
}

/** Everything of every entry of a tree, its root's first, sorted. */
export function treeLines(root: string, { since, timeless }: LineOptions): string[] {
  const lines: [string, string][] = [];
  const inodes = new Map<bigint, string[]>();
  const stat = new Stat();
  withFd(open(root, O_RDONLY | O_DIRECTORY), (fd) => {
    add("", fstat(fd, stat), root, () => "");
    walk(fd, "");
  });
  return finish(lines, inodes);

  function walk(fd: number, path: string): void {
    const listing = readListing(fd);
    for (const [i, text] of listing.names.entries()) {
      const name = listing.name(i), below = path === "" ? text : `${path}/${text}`;
      unwrap(tryStatat(fd, name, stat), "statx", below);
      const { isDirectory } = stat;
      add(
        below,
        stat,
        descriptorPath(fd, text),
        () =>
          stat.isSymlink
            ? readlinkat(fd, name)
            : withFd(openat(fd, name, O_RDONLY), (file) => decode(readToEnd(file))),
      );
      if (isDirectory) {
        withFd(openat(fd, name, O_RDONLY | O_DIRECTORY), (directory) => walk(directory, below));
      }
    }
  }

  function add(path: string, stat: Stat, magic: string, content: () => string): void {
    const { mode, uid, gid, inode, isDirectory } = stat;
    const nanos = BigInt(stat.seconds) * 1_000_000_000n + BigInt(stat.nanos);
    const isNow = isDirectory && nanos >= since;
    const xattrs = llistxattr(magic).filter((name) => !OF_HOST.test(name)).sort()
      .map((name) => `${name}=${lgetxattr(magic, name)?.toHex()}`);
    if (!isDirectory) inodes.set(inode, [...inodes.get(inode) ?? [], path]);
    const kind = stat.isFile
      ? `file ${digest(content())}`
      : stat.isSymlink
      ? `symlink ${JSON.stringify(content())}`
      : nodeText(stat);
    lines.push([path, line(kind, mode & 0o7777, uid, gid, isNow ? undefined : nanos, xattrs)]);
  }

  function nodeText({ type, rdevMajor, rdevMinor }: Stat): string {
    if (type === S_IFCHR || type === S_IFBLK) {
      return `${type === S_IFCHR ? "char" : "block"} ${rdevMajor}:${rdevMinor}`;
    }
    return type === S_IFIFO ? "fifo" : "directory";
  }

  function line(
    kind: string,
    mode: number,
    uid: number,
    gid: number,
    time: bigint | undefined,
    xattrs: readonly string[],
  ): string {
    return textOf(kind, mode, uid, gid, timeless && kind === "directory" ? "" : time, xattrs);
  }
}

/** The same of a model. */
export function modelLines(model: Model, timeless = false): string[] {
  const lines: [string, string][] = [];
  const inodes = new Map<unknown, string[]>();
  const shown = (text: string) => decode(bytes(text));
  for (const [raw, node] of entriesOf(model.root)) {
    const path = shown(raw), { as } = node;
    const { mode, uid, gid, time, xattrs } = node.attributes;
    const kind = as.kind === "file"
      ? `file ${digest(as.data)}`
      : as.kind === "symlink"
      ? `symlink ${JSON.stringify(shown(as.target))}`
      : as.kind === "char" || as.kind === "block"
      ? `${as.kind} ${as.major}:${as.minor}`
      : as.kind;
    if (as.kind !== "directory") inodes.set(node, [...inodes.get(node) ?? [], path]);
    const attributes = [...xattrs].map(([name, value]) => `${name}=${value.toHex()}`).sort();
    const noTime = timeless && as.kind === "directory";
    lines.push([path, textOf(kind, mode, uid, gid, noTime ? "" : time, attributes)]);
  }
  return finish(lines, inodes);
}

function textOf(
  kind: string,
  mode: number,
  uid: number,
  gid: number,
  time: bigint | "" | undefined,
  xattrs: readonly string[],
): string {
  return [kind, mode.toString(8), `${uid}:${gid}`, time ?? "now", ...xattrs].join(" ");
}

const digest = (text: string) =>
  text.length <= 32
    ? JSON.stringify(text)
    : createHash("sha1").update(encode(text)).digest("hex").slice(0, 12);

/** Adds to each line which others are names of the same inode; sorts. */
function finish(
  lines: readonly [path: string, line: string][],
  inodes: ReadonlyMap<unknown, string[]>,
): string[] {
  const groups = new Map<string, string>();
  for (const names of inodes.values()) {
    if (names.length < 2) continue;
    const group = names.sort().map((name) => JSON.stringify(name.slice(-40))).join(" = ");
    for (const name of names) groups.set(name, ` linked ${group}`);
  }
  return lines.map(([path, line]) => `${JSON.stringify(path)} ${line}${groups.get(path) ?? ""}`)
    .sort();
}
