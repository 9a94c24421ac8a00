import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decode, encode } from "../../ffi/cstring.ts";
import {
  close,
  O_APPEND,
  O_CREAT,
  O_NONBLOCK,
  O_RDWR,
  O_WRONLY,
  open,
  withFd,
} from "../../ffi/files.ts";
import { S_IFCHR, S_IFIFO, S_IFSOCK } from "../../ffi/names.ts";
import { tryLsetxattr } from "../../ffi/xattr.ts";
import type { Change } from "../../lib/tree/changes.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IdMap } from "../../lib/base/id_maps.ts";
import { exportTree } from "../../lib/tar/export/export.ts";
import { must, run, tempDir } from "../support/cases.ts";
import {
  apply,
  changesTar,
  DEFAULTS,
  everything,
  exportTo,
  listed,
  names,
  treeTar,
} from "./support/exports.ts";
import {
  chown,
  copyTree,
  describe,
  makeNode,
  operate,
  put,
  withDirectories,
} from "../support/tree_entries.ts";
import { randomOf } from "../support/random.ts";

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
  // What hides nothing of the layers below is no entry.
  const [above, lowest] = [`${dir.path}/above`, `${dir.path}/lowest`], lowers = [above, lowest];
  for (const lower of lowers) Deno.mkdirSync(`${lower}/dir`, { recursive: true });
  for (const name of ["a", "dir/gone", "shared"]) put(`${lowest}/${name}`);
  put(`${above}/zone`);
  for (const name of ["none", "dir/none", "hidden"]) makeNode(`${root}/${name}`, S_IFCHR);
  put(`${lowest}/hidden`);
  makeNode(`${above}/hidden`, S_IFCHR);
  Deno.mkdirSync(`${root}/fresh`);
  makeNode(`${root}/fresh/none`, S_IFCHR);
  tryLsetxattr(`${root}/fresh`, "trusted.overlay.opaque", encode("y"));
  const tar = treeTar(root, "overlay", { lowers });
  assertEquals(listed(tar, `${dir.path}/tar`), [
    ".wh.a 0 600 0:0 0",
    "dir/ 5 755 0:0 0",
    "dir/.wh..wh..opq 0 600 0:0 0",
    "dir/-new 0 644 0:0 3",
    "fresh/ 5 755 0:0 0",
    "plain/ 5 755 0:0 0",
    ".wh.shared 0 600 0:0 0",
    ".wh.zone 0 600 0:0 0",
  ]);
  assertEquals(decode(tar).includes("overlay"), false);
  const to = `${dir.path}/to`;
  Deno.mkdirSync(to);
  apply(`${dir.path}/tar`, to, "overlay", lowers);
  assertEquals(treeTar(to, "overlay", { lowers }), tar);
});

Deno.test("what says that content is elsewhere is refused in an upper directory, and nothing elsewhere", () => {
  for (const name of ["redirect", "metacopy"]) {
    using dir = tempDir();
    const root = `${dir.path}/tree`;
    Deno.mkdirSync(`${root}/dir`, { recursive: true });
    // More than are worth a Worker, and those that are written beside it.
    for (let i = 0; i < 2100; i++) put(`${root}/dir/${i}`);
    const marked = name === "redirect" ? `${root}/dir` : `${root}/dir/2099`;
    const plain = treeTar(root, "none"), lowers = [dir.path];
    tryLsetxattr(marked, `trusted.overlay.${name}`, encode("/x"));
    assertThrows(
      () => treeTar(root, "overlay", { lowers }),
      VeneerError,
      `trusted.overlay.${name}`,
    );
    assertEquals(treeTar(root, "none"), plain);
    assertEquals(treeTar(root, "aufs"), plain);
    assertEquals(treeTar(root, "overlay"), plain);
    const changes = [{ kind: "A", path: "/dir" }, { kind: "A", path: "/dir/2099" }] as const;
    assertEquals(listed(changesTar(root, changes), `${dir.path}/tar`).length, 2);
  }
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
  const lower = `${dir.path}/lower`;
  for (const name of ["dir", "other"]) {
    Deno.mkdirSync(`${lower}/${name}`, { recursive: true });
    put(`${lower}/${name}/gone`);
    Deno.mkdirSync(`${root}/${name}`, { recursive: true });
    for (const hidden of ["gone", "none"]) put(`${root}/${name}/.wh.${hidden}`);
  }
  put(`${lower}/gone`);
  assertEquals(listed(treeTar(root, "aufs", { lowers: [lower] }), `${dir.path}/tar`), [
    ".wh.gone 0 600 0:0 0",
    "dir/ 5 755 0:0 0",
    "dir/.wh..wh..opq 0 600 0:0 0",
    "dir/-new 0 644 0:0 0",
    "file 0 644 0:0 0",
    "other/ 5 755 0:0 0",
    "other/.wh.gone 0 600 0:0 0",
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
    "/.wh.file has a name that marks a deletion in a tar: left out",
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
  const lowers = [`${dir.path}/lower`];
  Deno.mkdirSync(lowers[0]);
  put(`${lowers[0]}/gone`);
  assertEquals(listed(treeTar(root, "overlay", { idMaps, lowers }), `${dir.path}/tar`), [
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
    const random = randomOf(seed);
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
