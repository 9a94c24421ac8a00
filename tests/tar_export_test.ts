import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decode, encode } from "../ffi/cstring.ts";
import {
  close,
  ftruncate,
  lseek,
  memfd,
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  open,
  openat,
  pipe,
  pread,
  pwriteAll,
  SEEK_SET,
  withFd,
} from "../ffi/files.ts";
import { fstat } from "../ffi/stat.ts";
import { mkdirat, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK, symlinkat } from "../ffi/tree.ts";
import { tryLsetxattr } from "../ffi/xattr.ts";
import { compareTrees } from "../lib/compare.ts";
import type { Change } from "../lib/changes.ts";
import { SyscallError } from "../ffi/errno.ts";
import { VeneerError } from "../lib/errors.ts";
import { IDENTITY, IdMap } from "../lib/id_maps.ts";
import { applyTar } from "../lib/tar/apply.ts";
import { encodeHeader, type Entry, PaxRecords, TYPE } from "../lib/tar/encode.ts";
import { Extensions } from "../lib/tar/pax.ts";
import { exportChanges, type ExportOptions, exportTree } from "../lib/tar/export.ts";
import type { WhiteoutForm } from "../lib/whiteouts.ts";
import { must, run, tempDir } from "./support.ts";
import {
  chown,
  copyTree,
  describe,
  generator,
  makeNode,
  OLD,
  operate,
  put,
  setTime,
  withDirectories,
} from "./tree_support.ts";

const DEFAULTS: ExportOptions = {
  idMaps: IDENTITY,
  warn: (message) => {
    throw new Error(`unexpected warning: ${message}`);
  },
};

/** Exports a directory to a file. */
function exportTo(
  file: string,
  directory: string,
  form: WhiteoutForm = "none",
  options: Partial<ExportOptions> = {},
): number {
  return withFd(open(file, O_RDWR | O_CREAT, 0o600), (out) => {
    ftruncate(out, 0n);
    return withDirectories(
      [directory],
      (fd) => exportTree(fd, out, form, { ...DEFAULTS, ...options }),
    );
  });
}

/** The tar that `write` makes, as bytes. */
function tarOf(write: (out: number) => number): Uint8Array<ArrayBuffer> {
  return withFd(memfd("tar"), (out) => {
    const length = write(out);
    assertEquals(fstat(out).size, length);
    const bytes = new Uint8Array(length);
    assertEquals(pread(out, bytes, length, 0n), length);
    return bytes;
  });
}

const treeTar = (root: string, form: WhiteoutForm, options: Partial<ExportOptions> = {}) =>
  tarOf((out) =>
    withDirectories([root], (fd) => exportTree(fd, out, form, { ...DEFAULTS, ...options }))
  );

const changesTar = (
  root: string,
  changes: Iterable<Change>,
  options: Partial<ExportOptions> = {},
) =>
  tarOf((out) =>
    withDirectories([root], (fd) => exportChanges(fd, changes, out, { ...DEFAULTS, ...options }))
  );

/** A tar's entries, by an independent reader: `name type mode uid:gid size mtime [linkname]`. */
function listed(tar: Uint8Array<ArrayBuffer>, path: string): string[] {
  Deno.writeFileSync(path, tar);
  const script = `
import sys, tarfile
for e in tarfile.open(sys.argv[1], "r:"):
    sys.stdout.write("%s %s %o %d:%d %d%s\\n" % (e.name + ("/" if e.isdir() else ""),
        e.type.decode(), e.mode, e.uid, e.gid, e.size, " -> " + e.linkname if e.linkname else ""))`;
  return must("python3", "-c", script, path).trimEnd().split("\n").filter((line) => line !== "");
}

/** Names alone. */
const names = (tar: Uint8Array<ArrayBuffer>, path: string) =>
  listed(tar, path).map((line) => line.split(" ")[0]);

/** A tree with an entry of every type, and attributes of every kind. */
function everything(root: string): void {
  Deno.mkdirSync(root, { recursive: true });
  Deno.mkdirSync(`${root}/dir/sub`, { recursive: true });
  Deno.mkdirSync(`${root}/sticky`);
  Deno.chmodSync(`${root}/sticky`, 0o1777);
  put(`${root}/dir/empty`);
  put(`${root}/dir/sub/file`, "content\n");
  put(`${root}/block`, "x".repeat(512));
  put(`${root}/small`, "y".repeat((128 << 10) - 1));
  put(`${root}/large`, "z".repeat(3_000_001));
  put(`${root}/setuid`, "#!", 0o6755);
  put(`${root}/owned`, "", 0o400);
  chown(`${root}/owned`, 1234, 3_000_000_000);
  Deno.symlinkSync("dir/sub/file", `${root}/link`);
  Deno.symlinkSync("t/".repeat(150), `${root}/longlink`);
  makeNode(`${root}/fifo`, S_IFIFO | 0o620);
  makeNode(`${root}/char`, S_IFCHR | 0o666, 1, 3);
  makeNode(`${root}/block-device`, S_IFBLK | 0o660, 259, 200_000);
  Deno.linkSync(`${root}/dir/sub/file`, `${root}/hardlink`);
  Deno.linkSync(`${root}/char`, `${root}/zchar`);
  tryLsetxattr(`${root}/setuid`, "user.comment", encode("two\nlines=\0and NUL"));
  tryLsetxattr(`${root}/setuid`, "user.a=b%3D", encode("odd name"));
  tryLsetxattr(`${root}/setuid`, "trusted.mine", encode(""));
  // struct vfs_cap_data of linux/capability.h, revision 2: cap_net_raw, effective.
  tryLsetxattr(
    `${root}/setuid`,
    "security.capability",
    Uint8Array.fromHex("0100000200200000000000000000000000000000"),
  );
  tryLsetxattr(`${root}/dir`, "user.large", new Uint8Array(3000).fill(7));
  put(`${root}/before`);
  setTime(`${root}/before`, -2, 500_000_000);
  put(`${root}/long-before`);
  setTime(`${root}/long-before`, -1_000_000_000, 0);
  put(`${root}/far`);
  setTime(`${root}/far`, 2 ** 33 - 1, 10);
  const fd = open(root, O_RDONLY | O_DIRECTORY);
  const odd = [
    encode("new\nline"),
    encode("日本語"),
    Uint8Array.of(0x66, 0xff, 0xfe),
    new Uint8Array(255).fill(0xe4),
    new Uint8Array(255).fill(0x61),
  ];
  for (const name of odd) symlinkat("odd", fd, Uint8Array.of(...name, 0));
  close(fd);
  // Every way in which a path can and cannot be split for the header.
  for (const length of [98, 99, 100, 101, 154, 155, 156, 200]) {
    const below = `${root}/${"p".repeat(length)}`;
    Deno.mkdirSync(below);
    for (const last of [1, 54, 55, 56, 99, 100, 101]) put(`${below}/${"n".repeat(last)}`);
  }
  setTime(`${root}/link`);
  setTime(`${root}/dir`, OLD, 5);
  setTime(root, OLD, 999_999_999);
}

Deno.test("TestGenerateEmptyFile: a tree or list without anything is 1024 zero bytes", () => {
  using dir = tempDir();
  for (const form of ["none", "overlay", "aufs"] as const) {
    assertEquals(treeTar(dir.path, form), new Uint8Array(1024));
  }
  assertEquals(changesTar(dir.path, []), new Uint8Array(1024));
});

Deno.test("GNU tar extracts the very tree that was written", () => {
  using dir = tempDir();
  const from = `${dir.path}/from`, to = `${dir.path}/to`, tar = `${dir.path}/tar`;
  everything(from);
  const written = exportTo(tar, from, "none", { includeRoot: true });
  assertEquals(written, Deno.statSync(tar).size);
  Deno.mkdirSync(to);
  const { success, stderr } = run(
    "tar",
    ...["-C", to, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-pxf", tar],
  );
  assert(success, stderr);
  assertEquals(describe(to), describe(from));
  assertEquals(Deno.statSync(to).mtime, Deno.statSync(from).mtime);
  assertEquals(run("tar", "-C", from, "-df", tar).stdout, "");
});

Deno.test("Python's tarfile reads names, modes, owners, sizes, links and attributes as they are", () => {
  using dir = tempDir();
  const from = `${dir.path}/from`, tar = `${dir.path}/tar`;
  everything(from);
  exportTo(tar, from);
  const script = `
import os, stat, sys, tarfile
tar, root = sys.argv[1].encode(), os.fsencode(sys.argv[2])
seen = {b""}
for e in tarfile.open(tar, "r:"):
    name = os.fsencode(e.name)
    path = os.path.join(root, name)
    s = os.lstat(path)
    seen.add(name)
    assert e.mode == stat.S_IMODE(s.st_mode), name
    assert (e.uid, e.gid) == (s.st_uid, s.st_gid), name
    assert abs(e.mtime - s.st_mtime_ns / 1e9) < 1e-6, (name, e.mtime)
    if e.isreg(): assert e.size == s.st_size and stat.S_ISREG(s.st_mode), name
    if e.issym(): assert os.fsencode(e.linkname) == os.readlink(path), name
    if e.islnk(): assert os.path.samestat(os.lstat(os.path.join(root, os.fsencode(e.linkname))), s), name
    if e.ischr() or e.isblk(): assert (e.devmajor, e.devminor) == (os.major(s.st_rdev), os.minor(s.st_rdev)), name
    if e.isreg():
        want = {k: os.getxattr(path, k, follow_symlinks=False) for k in os.listxattr(path, follow_symlinks=False)}
        got = {k[13:].replace("%3D", "=").replace("%25", "%"): v.encode("utf-8", "surrogateescape")
            for k, v in e.pax_headers.items() if k.startswith("SCHILY.xattr.")}
        assert want == got, (name, want, got)
all = {os.path.relpath(os.path.join(d, n), root) for d, ds, fs in os.walk(root) for n in ds + fs} | {b""}
assert seen == all, seen ^ all
print(len(seen))`;
  assert(Number(must("python3", "-c", script, tar, from)) > 80);
});

Deno.test("one tree makes the same bytes every time, wherever they go", async () => {
  using dir = tempDir();
  const from = `${dir.path}/from`;
  everything(from);
  const tar = treeTar(from, "none", { includeRoot: true });
  assertEquals(treeTar(from, "none", { includeRoot: true }), tar);
  // A file opened for appending, which sendfile cannot write to.
  const appended = `${dir.path}/appended`;
  withFd(open(appended, O_WRONLY | O_CREAT | O_APPEND, 0o600), (out) => {
    withDirectories(
      [from],
      (fd) => exportTree(fd, out, "none", { ...DEFAULTS, includeRoot: true }),
    );
  });
  assertEquals(Deno.readFileSync(appended), tar);
  // A pipe in non-blocking mode with a slow reader.
  const fifo = `${dir.path}/fifo`, read = `${dir.path}/read`;
  makeNode(fifo, S_IFIFO | 0o600);
  const script = `exec 3<"$1"; sleep 0.2; head -c 100000 <&3 >"$2"; sleep 0.1; cat <&3 >>"$2"`;
  const reader = new Deno.Command("sh", { args: ["-c", script, "sh", fifo, read] }).spawn();
  const hold = open(fifo, O_RDWR);
  withFd(open(fifo, O_WRONLY | O_NONBLOCK), (out) => {
    withDirectories(
      [from],
      (fd) => exportTree(fd, out, "none", { ...DEFAULTS, includeRoot: true }),
    );
  });
  close(hold);
  assert((await reader.status).success);
  assertEquals(Deno.readFileSync(read), tar);
});

Deno.test("applying a tar and writing it again makes the same bytes", () => {
  using dir = tempDir();
  const from = `${dir.path}/from`, to = `${dir.path}/to`, tar = `${dir.path}/tar`;
  everything(from);
  exportTo(tar, from, "none", { includeRoot: true });
  Deno.mkdirSync(to);
  apply(tar, to, "none");
  assertEquals(describe(to), describe(from));
  assertEquals(treeTar(to, "none", { includeRoot: true }), Deno.readFileSync(tar));
});

function apply(tar: string, to: string, whiteouts: WhiteoutForm): void {
  withFd(open(tar, O_RDONLY), (input) => {
    withDirectories([to], (fd) => applyTar(input, fd, { whiteouts, idMaps: IDENTITY }));
  });
}

/** An entry that needs no pax record. */
const PLAIN: Entry = {
  path: encode("plain"),
  type: TYPE.file,
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  seconds: 0,
  nanos: 0,
  link: new Uint8Array(0),
  major: 0,
  minor: 0,
  xattrs: [],
};

Deno.test("numbers beyond their fields go to pax records", () => {
  using dir = tempDir();
  const entry: Entry = {
    ...PLAIN,
    path: encode("huge"),
    uid: 0o7777777,
    gid: 0o10000000,
    size: 9 * 2 ** 30 + 1,
    seconds: 8 ** 11,
  };
  const records = new PaxRecords();
  assert(records.take(entry));
  assertEquals(
    decode(records.bytes),
    "19 size=9663676417\n" + "15 gid=2097152\n" + "20 mtime=8589934592\n",
  );
  const file = `${dir.path}/tar`;
  const block = new Uint8Array(512);
  withFd(open(file, O_RDWR | O_CREAT, 0o600), (out) => {
    records.encodeHeader(block, 0);
    pwriteAll(out, block, 0n);
    pwriteAll(out, records.bytes, 512n);
    encodeHeader(entry, block, 0);
    pwriteAll(out, block, 1024n);
    ftruncate(out, BigInt(1536 + entry.size + 511 + 1024));
  });
  const line = must("tar", "--numeric-owner", "--full-time", "-tvf", file);
  assertStringIncludes(line, "2097151/2097152");
  assertStringIncludes(line, "9663676417 2242-03-16 12:56:32 huge");
});

Deno.test("attributes' names with = and % are written as GNU tar writes them, and read back as they were", () => {
  const cases: [name: string, key: string][] = [
    ["user.plain", "user.plain"],
    ["user.a=b", "user.a%3Db"],
    ["user.=", "user.%3D"],
    ["user.%3D", "user.%253D"],
    ["user.%25", "user.%2525"],
    ["user.%=%%25", "user.%25%3D%25%2525"],
    // What reads the same either way stays as it is, for readers that decode nothing.
    ["user.100%", "user.100%"],
    ["user.%3d", "user.%3d"],
    ["user.%41", "user.%41"],
  ];
  for (const [name, key] of cases) {
    const records = new PaxRecords();
    const value = encode("a=b%3D");
    records.take({ ...PLAIN, xattrs: [[name, value]] });
    assertStringIncludes(decode(records.bytes), ` SCHILY.xattr.${key}=a=b%3D\n`);
    const read = new Extensions();
    read.parse(records.bytes);
    assertEquals(read.xattrs, [[name, value]]);
  }
});

Deno.test("times before the epoch and fractions are written without loss", () => {
  const cases: [number, number, string | undefined][] = [
    [0, 0, undefined],
    [1, 0, undefined],
    [0, 1, "0.000000001"],
    [5, 500_000_000, "5.5"],
    [-1, 0, "-1"],
    [-1, 500_000_000, "-0.5"],
    [-2, 999_999_999, "-1.000000001"],
    [-(2 ** 31), 0, "-2147483648"],
    [2 ** 33 - 1, 120, "8589934591.00000012"],
  ];
  const records = new PaxRecords();
  for (const [seconds, nanos, text] of cases) {
    records.take({ ...PLAIN, seconds, nanos });
    assertEquals(/mtime=(.*)\n/.exec(decode(records.bytes))?.[1], text);
  }
});

Deno.test("TestOverlayTarUntar: overlay's whiteouts and opaque directories become entries, its marks nothing", () => {
  using dir = tempDir();
  const root = `${dir.path}/upper`;
  Deno.mkdirSync(`${root}/dir`, { recursive: true });
  Deno.mkdirSync(`${root}/plain`);
  for (const name of ["a", "dir/gone", "zone"]) makeNode(`${root}/${name}`, S_IFCHR);
  Deno.linkSync(`${root}/a`, `${root}/shared`); // Overlay links its whiteouts to each other.
  put(`${root}/dir/-new`, "new");
  tryLsetxattr(`${root}/dir`, "trusted.overlay.opaque", encode("y"));
  tryLsetxattr(`${root}/plain`, "trusted.overlay.opaque", encode("x"));
  tryLsetxattr(`${root}/plain`, "trusted.overlay.impure", encode("y"));
  tryLsetxattr(`${root}/plain`, "user.overlay.opaque", encode("y"));
  const tar = treeTar(root, "overlay");
  assertEquals(listed(tar, `${dir.path}/tar`), [
    ".wh.a 0 600 0:0 0",
    "dir/ 5 755 0:0 0",
    "dir/.wh..wh..opq 0 600 0:0 0",
    "dir/-new 0 644 0:0 3",
    "dir/.wh.gone 0 600 0:0 0",
    "plain/ 5 755 0:0 0",
    ".wh.shared 0 600 0:0 0",
    ".wh.zone 0 600 0:0 0",
  ]);
  assertEquals(decode(tar).includes("overlay"), false);
  const to = `${dir.path}/to`;
  Deno.mkdirSync(to);
  apply(`${dir.path}/tar`, to, "overlay");
  assertEquals(treeTar(to, "overlay"), tar);
});

Deno.test("TestOverlayTarAUFSUntar: aufs's own form is kept, but for its other metadata", () => {
  using dir = tempDir();
  const root = `${dir.path}/branch`;
  Deno.mkdirSync(`${root}/dir`, { recursive: true });
  Deno.mkdirSync(`${root}/.wh..wh.plnk/below`, { recursive: true });
  for (const name of [".wh..wh.aufs", "dir/-new", "dir/.wh..wh..opq", "file"]) {
    put(`${root}/${name}`);
  }
  Deno.linkSync(`${root}/.wh..wh.aufs`, `${root}/.wh.gone`);
  Deno.linkSync(`${root}/.wh..wh.aufs`, `${root}/dir/.wh.gone`);
  assertEquals(listed(treeTar(root, "aufs"), `${dir.path}/tar`), [
    ".wh.gone 0 600 0:0 0",
    "dir/ 5 755 0:0 0",
    "dir/.wh..wh..opq 0 600 0:0 0",
    "dir/-new 0 644 0:0 0",
    "dir/.wh.gone 0 600 0:0 0",
    "file 0 644 0:0 0",
  ]);
});

Deno.test("a whole tree has no whiteouts: a device 0:0 is a device, a .wh. name cannot be written", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(root);
  makeNode(`${root}/device`, S_IFCHR | 0o600);
  put(`${root}/.wh.file`);
  makeNode(`${root}/socket`, S_IFSOCK | 0o600);
  const warnings: string[] = [];
  const tar = treeTar(root, "none", { warn: (message) => warnings.push(message) });
  assertEquals(listed(tar, `${dir.path}/tar`), ["device 3 600 0:0 0"]);
  assertEquals(warnings, [
    "/.wh.file has a name that means a deletion in a tar: left out",
    "/socket is a socket, which a tar cannot hold: left out",
  ]);
});

Deno.test("TestTarWithOptionsChownOpts: owners are mapped to the container's, one outside the map is named", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(root);
  put(`${root}/file`);
  chown(`${root}/file`, 100_005, 200_006);
  makeNode(`${root}/gone`, S_IFCHR); // Overlay's whiteouts belong to the host's root.
  const idMaps = {
    uids: IdMap.parse(["0:100000:65536"]),
    gids: IdMap.parse(["0:200000:65536"]),
  };
  assertEquals(listed(treeTar(root, "overlay", { idMaps }), `${dir.path}/tar`), [
    "file 0 644 5:6 0",
    ".wh.gone 0 600 0:0 0",
  ]);
  chown(`${root}/file`, 100_005, 65_536);
  const error = assertThrows(() => treeTar(root, "overlay", { idMaps }), VeneerError);
  assertEquals(error.code, "invalid argument");
  assertStringIncludes(error.message, "/file belongs to host gid 65536");
});

Deno.test("TestHardLinkOrder, TestTarWithHardLink: the first name has the data, the others link to it", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(`${root}/b`, { recursive: true });
  put(`${root}/b/2`, "data");
  for (const name of ["a", "b/1", "c"]) Deno.linkSync(`${root}/b/2`, `${root}/${name}`);
  Deno.linkSync(`${root}/a`, `${dir.path}/outside`);
  assertEquals(listed(treeTar(root, "none"), `${dir.path}/tar`), [
    "a 0 644 0:0 4",
    "b/ 5 755 0:0 0",
    "b/1 1 644 0:0 0 -> a",
    "b/2 1 644 0:0 0 -> a",
    "c 1 644 0:0 0 -> a",
  ]);
  const changes: Change[] = [{ kind: "C", path: "/b" }, { kind: "A", path: "/b/1" }, {
    kind: "A",
    path: "/c",
  }];
  assertEquals(listed(changesTar(root, changes), `${dir.path}/tar`), [
    "b/ 5 755 0:0 0",
    "b/1 0 644 0:0 4",
    "c 1 644 0:0 0 -> b/1",
  ]);
});

Deno.test("changes: added and changed entries are read, deleted ones become whiteouts in their directory", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(`${root}/a/b`, { recursive: true });
  Deno.mkdirSync(`${root}/z`);
  put(`${root}/a/b/new`, "new");
  put(`${root}/a/unchanged`);
  const warnings: string[] = [];
  const tar = changesTar(root, [
    { kind: "C", path: "/a" },
    { kind: "C", path: "/a/b" },
    { kind: "D", path: "/a/b/gone" },
    { kind: "A", path: "/a/b/new" },
    { kind: "A", path: "/a/b/vanished" },
    { kind: "D", path: "/a.gone" },
    { kind: "A", path: "/lost" },
    { kind: "A", path: "/lost/below" },
    { kind: "C", path: "/z" },
  ], { warn: (message) => warnings.push(message), includeRoot: true });
  assertEquals(names(tar, `${dir.path}/tar`), [
    "./",
    "a/",
    "a/b/",
    "a/b/.wh.gone",
    "a/b/new",
    ".wh.a.gone",
    "z/",
  ]);
  assertEquals(warnings, [
    "/a/b/vanished was removed or replaced while it was read: left out",
    "/lost was removed or replaced while it was read: left out",
    "/lost/below lost its directory while it was read: left out",
  ]);
});

Deno.test("random changes: applied to a copy of the parent, their tar makes the child", () => {
  for (let seed = 0; seed < 40; seed++) {
    using dir = tempDir();
    const random = generator(seed);
    const [parent, child, result] = ["parent", "child", "result"]
      .map((name) => `${dir.path}/${name}`);
    Deno.mkdirSync(parent);
    for (let i = 0; i < 60; i++) operate(parent, random);
    copyTree(parent, child);
    copyTree(parent, result);
    for (let i = 0; i < 60; i++) operate(child, random);
    const tar = withDirectories(
      [parent, child],
      (a, b) => changesTar(child, compareTrees(a, b)),
    );
    Deno.writeFileSync(`${dir.path}/tar`, tar);
    apply(`${dir.path}/tar`, result, "none");
    const rest = withDirectories([result, child], (a, b) => [...compareTrees(a, b)]);
    assertEquals(rest, [], `seed ${seed}`);
  }
});

Deno.test("a file that shrinks is filled up, one that grows is cut, one that goes is left out", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(root);
  for (const name of ["1 shrinks", "2 grows"]) put(`${root}/${name}`, "x".repeat(20 << 20));
  put(`${root}/3 goes`);
  const warnings: string[] = [];
  const tar = treeTar(root, "none", {
    warn: (message) => warnings.push(message),
    onProgress(written) {
      if (written > 10 << 20) Deno.truncateSync(`${root}/1 shrinks`, 1 << 20);
      if (written < 25 << 20) return;
      Deno.writeTextFileSync(`${root}/2 grows`, "more", { append: true });
      must("rm", "-f", `${root}/3 goes`);
    },
  });
  assertEquals(warnings, [
    "/1 shrinks became shorter while it was read: filled up with zeros",
    "/3 goes was removed or replaced while it was read: left out",
  ]);
  // Each file has a pax header of two blocks, for its time, and its own.
  assertEquals(tar.length, 2 * (3 * 512 + (20 << 20)) + 1024);
  assertEquals(tar.subarray(3 * 512 + (20 << 20) - 3, 3 * 512 + (20 << 20)), new Uint8Array(3));
  assertEquals(decode(tar.subarray(-1026, -1024)), "xx");
});

Deno.test("progress ends at what was written", () => {
  using dir = tempDir();
  everything(`${dir.path}/from`);
  let last = 0, calls = 0;
  const tar = treeTar(`${dir.path}/from`, "none", {
    onProgress(written) {
      assert(written > last);
      last = written;
      calls++;
    },
  });
  assertEquals(last, tar.length);
  assert(calls > 2);
});

Deno.test("an output that takes no more is one clear error", () => {
  using dir = tempDir();
  put(`${dir.path}/file`, "x".repeat(1 << 20));
  const { readable, writable } = pipe();
  close(readable);
  const error = assertThrows(
    () => withDirectories([dir.path], (fd) => exportTree(fd, writable, "none", DEFAULTS)),
    SyscallError,
  );
  close(writable);
  assertEquals(error.code, "EPIPE");
  const full = open("/dev/full", O_WRONLY);
  assertEquals(
    assertThrows(
      () => withDirectories([dir.path], (fd) => exportTree(fd, full, "none", DEFAULTS)),
      SyscallError,
    ).code,
    "ENOSPC",
  );
  close(full);
});

Deno.test("a tree 2000 directories deep is written with few descriptors and read back by GNU tar", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`, tar = `${dir.path}/tar`;
  Deno.mkdirSync(root);
  let fd = open(root, O_RDONLY | O_DIRECTORY);
  for (let i = 0; i < 2000; i++) {
    mkdirat(fd, "d", 0o755);
    const below = openat(fd, "d", O_RDONLY | O_DIRECTORY);
    symlinkat("nowhere", fd, "z");
    close(fd);
    fd = below;
  }
  close(fd);
  let most = 0;
  const onProgress = () => {
    most = Math.max(most, [...Deno.readDirSync("/proc/self/fd")].length);
  };
  exportTo(tar, root, "none", { onProgress });
  assert(most > 0 && most < 120, `${most} descriptors`);
  const list = must("tar", "-tf", tar).trimEnd().split("\n");
  assertEquals(list.length, 4000);
  assertEquals(list[1999], "d/".repeat(2000));
  assertEquals(list[2000], "d/".repeat(1999) + "z");
  must("rm", "-rf", root);
});

Deno.test("the walk begins at the directory's start, wherever its descriptor stands", () => {
  using dir = tempDir();
  put(`${dir.path}/file`);
  withDirectories([dir.path], (fd) => {
    const first = tarOf((out) => exportTree(fd, out, "none", DEFAULTS));
    lseek(fd, 0x7fff_ffffn, SEEK_SET);
    assertEquals(tarOf((out) => exportTree(fd, out, "none", DEFAULTS)), first);
  });
});
