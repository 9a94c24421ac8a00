/**
 * A tree that holds every kind of entry that a layer can, and a change of it of every kind.
 */
import type { EntryName } from "../../ffi/entry_name.ts";
import { entryAt } from "../support/entry_at.ts";
import { join } from "@std/path";
import { O_CREAT, O_WRONLY, open, pwriteAll, withFd } from "../../ffi/files.ts";
import { mkdir } from "../../ffi/paths.ts";
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFREG, tryFchmodat, tryLinkat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { lsetxattr } from "../../ffi/xattr.ts";
import { chown, makeNode, setTime } from "../support/tree_entries.ts";

/** `cap_net_raw+ep`, as `struct vfs_cap_data` of `linux/capability.h`. */
export const CAP_NET_RAW = Uint8Array.fromHex("0100000200200000000000000000000000000000");

/** A name of bytes that are no UTF-8, as texts hold them: 0xe9 and 0xff. */
export const NOT_UTF8 = "caf\udce9-\udcff";

const text = new TextEncoder();

/** Makes entries below a root, each with owner, mode and times of its own, and puts times last. */
class Maker {
  readonly #times = new Map<string, readonly [seconds: number, nanos: number]>();
  #made = 0;

  constructor(readonly root: string) {}

  file(name: string, content: string | Uint8Array, mode = 0o644): string {
    const path = join(this.root, name);
    withFd(open(path, O_WRONLY | O_CREAT, 0o600), (fd) => {
      pwriteAll(fd, typeof content === "string" ? text.encode(content) : content.slice(), 0n);
    });
    return this.#finish(path, mode);
  }

  directory(name: string, mode = 0o755): string {
    const path = join(this.root, name);
    mkdir(path, 0o700);
    return this.#finish(path, mode);
  }

  node(name: string, mode: number, major = 0, minor = 0): string {
    const path = join(this.root, name);
    makeNode(path, mode, major, minor);
    return this.#finish(path, mode & 0o7777);
  }

  symlink(target: string, name: string): string {
    const path = join(this.root, name);
    Deno.symlinkSync(target, path);
    return this.#finish(path);
  }

  link(existing: string, name: string): void {
    const to = join(this.root, name);
    const link = (from: number, name: EntryName) =>
      entryAt(to, (dirfd, toName) => tryLinkat(from, name, dirfd, toName));
    unwrap(entryAt(join(this.root, existing), link), "linkat", to);
  }

  /** Owner before mode, which a change of owner would cut. */
  #finish(path: string, mode?: number): string {
    this.time(path, 1_500_000_000 + this.#made, 1 + this.#made * 7_654_321 % 1_000_000_000);
    chown(path, this.#made % 5 * 1000, this.#made % 3);
    if (mode !== undefined) {
      unwrap(entryAt(path, (dirfd, name) => tryFchmodat(dirfd, name, mode)), "fchmodat", path);
    }
    this.#made++;
    return path;
  }

  time(path: string, seconds: number, nanos: number): void {
    this.#times.set(path, [seconds, nanos]);
  }

  /** What comes into a directory moves its time, so times are set when all is there, the innermost first. */
  done(): void {
    for (const [path, [seconds, nanos]] of [...this.#times].reverse()) {
      setTime(path, seconds, nanos);
    }
  }
}

/** Fills an empty directory. */
export function makeRichTree(root: string): void {
  const make = new Maker(root);
  make.directory("d");
  make.directory("d/tmp", 0o1777);
  make.directory("d/group", 0o2775);
  make.directory("d/closed", 0o000);
  make.directory("empty directory");
  make.file("empty", "");
  make.file("d/file", "content\n", 0o640);
  make.file("d/closed/inside", "not for everyone", 0o400);
  make.file("d/group/large", new Uint8Array(300_001).fill(0x61));
  make.file("setuid", "#!/bin/sh\n", 0o4755);
  make.file("setgid", "#!/bin/sh\n", 0o2755);
  make.file("d/replaced", "by a directory");
  make.directory("replaced");
  make.file("replaced/below", "goes with its directory");
  make.directory("opaque");
  make.file("opaque/old", "hidden");
  make.file("removed", "to be removed");
  make.file("d/removed", "to be removed");

  const long = "n".repeat(200), longest = "x".repeat(255);
  make.directory(long);
  make.file(`${long}/${long}`, "a path beyond ustar's fields");
  make.file(longest, "the longest name there is");
  make.file(NOT_UTF8, "no UTF-8");
  make.file("d/snow ☃ man", "UTF-8");
  make.file("d/new\nline\t\\", "control characters");
  make.file("d/-rf", "looks like an option");
  make.symlink("file", "d/link");
  make.symlink("/nowhere", "dangling");
  make.symlink("t".repeat(180), "to a long target");
  make.symlink(NOT_UTF8, "to no UTF-8");
  make.link("d/file", "a second name");
  make.link("d/file", "d/group/a third name");
  make.node("d/null", S_IFCHR | 0o666, 1, 3);
  make.node("d/disk", S_IFBLK | 0o660, 4000, 1_000_000);
  make.node("fifo", S_IFIFO | 0o622);
  make.node("made by mknod", S_IFREG | 0o600);

  const capable = make.file("capable", "#!/bin/sh\n", 0o755);
  lsetxattr(capable, "security.capability", CAP_NET_RAW);
  const marked = make.file("marked", "");
  lsetxattr(marked, "user.text", text.encode("a value"));
  lsetxattr(marked, "user.bytes", new Uint8Array([0, 10, 0x3d, 255, 0]));
  lsetxattr(make.directory("marked directory"), "user.where", text.encode("on a directory"));
  make.done();
}

/** Several names of what most programs expect one of. */
export function addLinkedSpecials(root: string): void {
  const make = new Maker(root);
  make.symlink("nowhere", "link of two names");
  make.link("link of two names", "link of two names, too");
  make.node("device of two names", S_IFCHR | 0o666, 1, 7);
  make.link("device of two names", "device of two names, too");
  make.done();
}

/** Times, owners and attributes beyond the usual, which not every program keeps. */
export function addExtremes(root: string): void {
  const make = new Maker(root);
  make.time(make.file("before 1970", "with a fraction"), -86_400, 250_000_000);
  make.time(make.file("just before 1970", ""), -1, 999_999_999);
  make.time(make.file("at 1970", ""), 0, 0);
  make.time(make.file("beyond eleven octal digits", ""), 8_589_934_592, 1);
  chown(make.file("owner beyond seven octal digits", ""), 4_000_000_000, 3_000_000_000);
  lsetxattr(make.file("empty attribute", ""), "user.empty", new Uint8Array());
  lsetxattr(make.file("trusted", ""), "trusted.own", text.encode("the administrator's"));
  make.done();
}

/** Changes a tree of {@linkcode makeRichTree}, as a mounted layer sees it. */
export function changeRichTree(root: string): void {
  const path = (name: string) => join(root, name);
  for (const name of ["removed", "d/removed", "a second name", "empty directory"]) {
    Deno.removeSync(path(name));
  }
  Deno.removeSync(path("opaque"), { recursive: true });
  Deno.removeSync(path("replaced"), { recursive: true });
  Deno.removeSync(path("d/replaced"));
  const make = new Maker(root);
  make.directory("opaque", 0o711);
  make.file("opaque/new", "seen");
  make.file("replaced", "is a file now");
  make.directory("d/replaced");
  make.file("d/replaced/below", "is a directory now");
  make.file("added", "new");
  make.link("added", "d/added too");
  make.node("d/zero", S_IFCHR | 0o666, 1, 5);
  make.node("d/fifo", S_IFIFO | 0o600);
  make.symlink("../added", "d/link to added");
  lsetxattr(make.file("d/attributes", "", 0o2711), "user.text", text.encode("changed"));
  lsetxattr(make.file("d/capable", "", 0o755), "security.capability", CAP_NET_RAW);
  make.directory("d/tmp/below");
  make.done();
  Deno.writeTextFileSync(path("d/file"), "more\n", { append: true });
  Deno.chmodSync(path("d/group"), 0o2770);
  chown(path("setuid"), 7, 8);
}
