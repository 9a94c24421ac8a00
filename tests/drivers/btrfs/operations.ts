/**
 * Random operations on a tree, among them those that a file system's own notes of what changed get wrong
 * most easily: names that swap places, files of several names, edits that keep size and time, entries that
 * are made anew as they were, directories that move with what changed in them.
 */
import type { EntryName } from "../../../ffi/entry_name.ts";
import { entryAt } from "../../support/entry_at.ts";
import { lchownSync, lutimesSync } from "node:fs";
import { commit } from "../../../ffi/btrfs_volume.ts";
import { decode } from "../../../ffi/cstring.ts";
import { SyscallError } from "../../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, O_RDWR, open, withFd } from "../../../ffi/files.ts";
import { tryFallocate } from "../../../ffi/files.ts";
import { mknod, tryRename } from "../../../ffi/paths.ts";
import {
  makedev,
  RENAME_EXCHANGE,
  S_IFCHR,
  S_IFIFO,
  S_IFSOCK,
  tryLinkat,
} from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { lsetxattr, tryFremovexattr } from "../../../ffi/xattr.ts";

type Pick = (limit: number) => number;

/** What there is to choose from, as paths below the root. */
interface Choices {
  readonly files: string[];
  readonly directories: string[];
  readonly all: string[];
}

function look(root: string): Choices {
  const files: string[] = [], directories = [""], all: string[] = [];
  const visit = (path: string) => {
    for (const { name, isDirectory, isFile } of Deno.readDirSync(root + path)) {
      const below = `${path}/${name}`;
      all.push(below);
      if (isFile) files.push(below);
      if (!isDirectory) continue;
      directories.push(below);
      visit(below);
    }
  };
  visit("");
  return { files: files.sort(), directories: directories.sort(), all: all.sort() };
}

/** Does some operations; one that does not go, as a rename into itself, is left out. */
export function operate(root: string, pick: Pick, count: number): void {
  const operations = Object.values(OPERATIONS);
  for (let i = 0; i < count; i++) {
    const operation = operations[pick(operations.length)];
    try {
      operation(new Context(root, pick, look(root)));
    } catch (error) {
      const refused = error instanceof SyscallError || error instanceof Nothing ||
        error instanceof Error && /os error/.test(error.message);
      if (!refused) throw error;
    }
  }
}

/** There is nothing of the kind that an operation wants. */
class Nothing extends Error {}

const NAMES = ["a", "b", "c", "a.b", "ab", "é", "\u{1f600}", "-x", "sp ace", "x".repeat(60)];

class Context {
  constructor(readonly root: string, readonly pick: Pick, readonly choices: Choices) {}

  #any(paths: readonly string[]): string {
    if (paths.length === 0) throw new Nothing();
    return this.root + paths[this.pick(paths.length)];
  }

  get file(): string {
    return this.#any(this.choices.files);
  }
  get directory(): string {
    return this.#any(this.choices.directories);
  }
  get entry(): string {
    return this.#any(this.choices.all);
  }
  /** A path that may or may not be there. */
  get place(): string {
    return `${this.directory}/${NAMES[this.pick(NAMES.length)]}`;
  }
  get content(): Uint8Array<ArrayBuffer> {
    const sizes = [0, 1, 100, 2000, 4096, 5000, 70_000];
    const bytes = new Uint8Array(sizes[this.pick(sizes.length)]);
    return bytes.fill(97 + this.pick(26));
  }
  get mode(): number {
    return [0o600, 0o644, 0o755, 0o4711, 0o1777][this.pick(5)];
  }
}

const OPERATIONS: Record<string, (c: Context) => void> = {
  write,
  writeMore: write,
  mkdir: (c) => Deno.mkdirSync(c.place),
  mkdirMore: (c) => Deno.mkdirSync(c.place),
  overwrite: (c) => Deno.writeFileSync(c.file, c.content),
  append: (c) => Deno.writeFileSync(c.file, c.content, { append: true }),
  truncate: (c) => Deno.truncateSync(c.file, c.pick(6000)),
  symlink: (c) => Deno.symlinkSync(`to/${c.pick(5)}`, c.place),
  link: (c) => {
    const to = c.place;
    const link = (from: number, name: EntryName) =>
      entryAt(to, (dirfd, toName) => tryLinkat(from, name, dirfd, toName));
    unwrap(entryAt(c.entry, link), "link", to);
  },
  linkFile: (c) => Deno.linkSync(c.file, c.place),
  remove: (c) => Deno.removeSync(c.entry, { recursive: true }),
  move: (c) => Deno.renameSync(c.entry, c.place),
  moveDirectory: (c) => {
    const from = c.directory;
    if (from === c.root) throw new Nothing();
    Deno.renameSync(from, c.place);
  },
  moveOver: (c) => Deno.renameSync(c.entry, c.entry),
  swap: (c) => {
    const one = c.entry, other = c.entry;
    unwrap(tryRename(one, other, RENAME_EXCHANGE), "renameat2", one);
  },
  moveThereAndBack: (c) => {
    const from = c.entry, aside = `${c.root}/aside`;
    Deno.renameSync(from, aside);
    if (c.pick(2) === 0) commit_(c.root);
    Deno.renameSync(aside, from);
  },
  mode: (c) => Deno.chmodSync(c.choices.files.length ? c.file : c.directory, c.mode),
  modeDirectory: (c) => Deno.chmodSync(c.directory, c.mode),
  owner: (c) => lchownSync(c.entry, c.pick(3), c.pick(3)),
  time: (c) => lutimesSync(c.entry, c.pick(1000), c.pick(1000)),
  xattr: (c) => lsetxattr(c.file, `user.n${c.pick(3)}`, c.content.subarray(0, 200)),
  xattrDirectory: (c) => lsetxattr(c.directory, `trusted.n${c.pick(3)}`, c.content.subarray(0, 50)),
  noXattr: (c) =>
    void withFd(open(c.file, O_RDWR), (fd) => tryFremovexattr(fd, `user.n${c.pick(3)}`)),
  hole: (c) => {
    const KEEP_SIZE_AND_PUNCH = 3;
    withFd(open(c.file, O_RDWR), (fd) => {
      tryFallocate(fd, KEEP_SIZE_AND_PUNCH, BigInt(c.pick(3) * 4096), 4096n);
    });
  },
  special: (c) => mknod(c.place, [S_IFIFO, S_IFSOCK][c.pick(2)] | 0o600),
  device: (c) => mknod(c.place, S_IFCHR | 0o600, makedev(1, [3, 5][c.pick(2)])),
  /** The same size and time, another content. */
  editInSecret: (c) => {
    const file = c.file;
    const bytes = Deno.readFileSync(file), { mtime } = Deno.statSync(file);
    if (bytes.length > 0) bytes[c.pick(bytes.length)] ^= 1;
    Deno.writeFileSync(file, bytes);
    Deno.utimeSync(file, mtime!, mtime!);
  },
  /** Written, and all as it was. */
  rewriteSame: (c) => {
    const file = c.file;
    const bytes = Deno.readFileSync(file);
    // In whole microseconds, as it is set: else it could not be set to what it was.
    lutimesSync(file, 5, 5);
    if (c.pick(2) === 0) commit_(c.root);
    Deno.writeFileSync(file, bytes);
    lutimesSync(file, 5, 5);
  },
  /** Another inode, the same file. */
  replaceSame: (c) => {
    const file = c.file;
    const bytes = Deno.readFileSync(file), { mode, mtime, uid, gid } = Deno.statSync(file);
    Deno.removeSync(file);
    Deno.writeFileSync(file, bytes);
    lchownSync(file, uid!, gid!);
    Deno.chmodSync(file, mode! & 0o7777);
    Deno.utimeSync(file, mtime!, mtime!);
  },
  replaceType: (c) => {
    const entry = c.entry;
    Deno.removeSync(entry, { recursive: true });
    switch (c.pick(3)) {
      case 0:
        return Deno.mkdirSync(entry);
      case 1:
        return Deno.symlinkSync("elsewhere", entry);
      default:
        return Deno.writeFileSync(entry, c.content);
    }
  },
  /** A directory made anew, with some of what it held. */
  remakeDirectory: (c) => {
    const directory = c.directory;
    if (directory === c.root) throw new Nothing();
    const aside = `${c.root}/remade`;
    Deno.renameSync(directory, aside);
    Deno.mkdirSync(directory);
    for (const { name } of [...Deno.readDirSync(aside)]) {
      if (c.pick(2) === 0) Deno.renameSync(`${aside}/${name}`, `${directory}/${name}`);
    }
    Deno.removeSync(aside, { recursive: true });
  },
  notUtf8: (c) => {
    const name = decode(Uint8Array.of(0x66, 0xff, 0x30 + c.pick(3)));
    mknod(`${c.root}/${name}`, S_IFIFO | 0o644);
  },
  commit: (c) => commit_(c.root),
};

function write(c: Context): void {
  const place = c.place;
  if (isSpecial(place)) throw new Nothing(); // A fifo would wait for a reader.
  Deno.writeFileSync(place, c.content);
}

function isSpecial(path: string): boolean {
  try {
    const { isFile, isDirectory, isSymlink } = Deno.lstatSync(path);
    return !isFile && !isDirectory && !isSymlink;
  } catch {
    return false;
  }
}

function commit_(root: string): void {
  withFd(open(root, O_RDONLY | O_DIRECTORY), commit);
}
