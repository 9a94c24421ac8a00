/**
 * aufs's layout, which is Docker's, and all that is done to layers without mounting them. Cases that begin with
 * `Test` are those of Docker's own suite for this driver.
 */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { lchownSync } from "node:fs";
import * as aufs from "../../../drivers/aufs/driver.ts";
import { aufs as definition } from "../../../drivers/aufs/mod.ts";
import { gzipSync } from "node:zlib";
import { branchLimit, branchLimitFor } from "../../../drivers/aufs/branch_limit.ts";
import { hasModule } from "../../../lib/base/kernel.ts";
import { checkBacking } from "../../../drivers/aufs/support.ts";
import { openDriver } from "../../support/drivers.ts";
import { lsetxattr } from "../../../ffi/xattr.ts";
import { statfs } from "../../../ffi/statfs.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type TempDir, TEST_FS } from "../../support/cases.ts";
import { chain, graphOf, lacking, open, openGraph, Recorder, refused, test } from "./support.ts";
import { apply, diff, EMPTY_TAR, fill, rootOf, treeNames } from "../../support/layers.ts";
import { lines, tarOf } from "../../support/trees.ts";
import { must } from "../../support/cases.ts";
import { PROGRAM } from "../../support/commands.ts";
import { isThere, names, ownership, read } from "../../support/files.ts";
import { MAPPED } from "../../support/id_maps.ts";
import { create } from "../../support/backends.ts";
import { assertFails } from "../../support/errors.ts";

/** The store at `DIR/root`, opened as the program does. */
const openStore = (dir: TempDir, driver = "aufs") =>
  openDriver({
    root: `${dir.path}/root`,
    driver,
    options: [],
    idMaps: IDENTITY,
    warn: (message) => {
      throw new Error(`a warning: ${message}`);
    },
  });

test("TestNewDriver, TestCreateDirStructure: what an empty home gets", (dir) => {
  const { home } = open(dir.path);
  assertEquals(home.path, `${Deno.realPathSync(dir.path)}/aufs`);
  assertEquals(names(home.path), [".veneer", "diff", "layers", "mnt"]);
  assertEquals(["", "diff", "layers", "mnt"].map((name) => ownership(home.join(name).text)), [
    "710 0:0",
    "710 0:0",
    "710 0:0",
    "710 0:0",
  ]);
});

test("TestNewDriverFromExistingDir: layers are those that were there", (dir) => {
  chain(open(dir.path), ["base", "child"]);
  const again = open(dir.path);
  assertEquals(again.list().sort(), ["base", "child"]);
  assertEquals(again.parent("child"), "base");
});

test("TestAufsString: its name", (dir) => {
  assertEquals(open(dir.path).name, "aufs");
  assertEquals(definition.name, "aufs");
});

test("TestCreateNewDir, TestCreateNewDirStructure: layers byte by byte, whatever the umask", (dir) => {
  const before = Deno.umask(0o022);
  try {
    const backend = open(dir.path, {}, MAPPED);
    Deno.umask(0o027);
    create(backend, "1");
    Deno.umask(0o022);
    chain(backend, ["a", "b", "c"]);
    const { home } = backend;
    for (const part of ["diff", "layers", "mnt"]) {
      assertEquals(names(home.join(part).text), ["1", "a", "b", "c"]);
    }
    assertEquals(["a", "b", "c"].map((id) => read(home.join("layers", id).text)), [
      "",
      "a\n",
      "b\na\n",
    ]);
    assertEquals(
      ["", "diff", "diff/1", "mnt/1", "diff/b", "mnt/b"].map((path) =>
        ownership(home.join(path).text)
      ),
      [
        "710 0:200000",
        "710 0:200000",
        "755 100000:200000",
        "755 100000:200000",
        "755 100000:200000",
        "755 100000:200000",
      ],
    );
    assertEquals(ownership(home.join("layers/a").text), "644 0:0");
  } finally {
    Deno.umask(before);
  }
});

test("a child's root begins as its parent's", (dir) => {
  const backend = open(dir.path);
  create(backend, "base");
  const diff = backend.home.join("diff/base");
  lchownSync(diff.text, 7, 8);
  Deno.chmodSync(diff.text, 0o1777);
  lsetxattr(diff.text, "trusted.note", new TextEncoder().encode("kept"));
  lsetxattr(diff.text, "user.root", new TextEncoder().encode("bottom"));
  create(backend, "child", "base");
  assertEquals(rootOf(backend.home.join("diff/child").text), [0o1777, 7, 8, "bottom"]);
  assertEquals(ownership(backend.home.join("mnt/child").text), "755 0:0");
});

test("TestRemoveImage: a removed layer leaves no name", (dir) => {
  const driver = openGraph(dir);
  fill(driver, "1", (root) => Deno.writeTextFileSync(`${root}/file`, "content"));
  const before = treeNames(driver.home);
  driver.create("2", { parent: "1" });
  const { message } = assertFails("in use", () => driver.remove("1"));
  assert(message.includes("has children: 2"), message);
  driver.remove("2");
  assertEquals(treeNames(driver.home), before);
  driver.remove("1");
  for (const part of ["diff", "layers", "mnt"]) {
    assertEquals(names(`${driver.home}/${part}`), []);
  }
});

test("TestGetWithoutParent: a layer without parents is its own directory", (dir) => {
  const driver = openGraph(dir);
  driver.create("1");
  const path = driver.get("1");
  assertEquals(path, `${driver.home}/diff/1`);
  assertEquals(driver.get("1"), path);
  assertEquals(driver.layer("1").references, 2);
  assertFails("in use", () => driver.remove("1"));
  driver.put("1");
  driver.put("1");
  assertFails("failed precondition", () => driver.put("1"));
  driver.cleanup();
});

test("get tolerates that the record is gone; nothing is built on such a layer", (dir) => {
  const driver = openGraph(dir);
  driver.create("base");
  driver.create("lost", { parent: "base" });
  Deno.writeTextFileSync(`${driver.home}/diff/lost/file`, "content");
  Deno.removeSync(`${driver.home}/layers/lost`);
  assertEquals(driver.get("lost"), `${driver.home}/diff/lost`);
  driver.put("lost");
  const { parent, incomplete } = driver.layer("lost");
  assertEquals([parent, incomplete], [undefined, false]);
  assertEquals(driver.layers().map(({ id }) => id), ["base", "lost"]);
  const { message } = assertFails("corrupt store", () => driver.create("x", { parent: "lost" }));
  assert(message.startsWith(`${driver.home}/layers/lost is missing`), message);
  assertFails("invalid argument", () => lines(driver.changes("lost", undefined)));
  assertEquals(lines(driver.changes("lost", "")), ["A /file"]);
  assertFails("already exists", () => driver.create("lost"));
  driver.remove("lost");
  assertEquals(names(`${driver.home}/diff`), ["base"]);
  driver.cleanup();
});

test("TestCleanupWithNoDirs, TestCleanupWithDir: nothing is mounted, nothing is taken away", (dir) => {
  const driver = openGraph(dir);
  assertEquals(driver.cleanup(), []);
  driver.create("1");
  assertEquals(driver.cleanup(), []);
  assert(driver.exists("1"));
});

test("cleanup goes on past a layer that stays mounted", (dir) => {
  // Mounts that nobody counts, of another kind: to be unmounted they are the same.
  const recorder = new Recorder(`${dir.path}/root`, true, ({ target }) => target.endsWith("/b"));
  const warnings: string[] = [];
  const backend = open(recorder.root);
  const warn = (message: string) => void warnings.push(message);
  const driver = graphOf(backend, recorder, warn, "ignore");
  for (const id of ["a", "b", "c"]) {
    driver.create(id);
    must("mount", "-t", "tmpfs", "tmpfs", backend.mountPoint(id));
  }
  assertEquals(driver.cleanup(), ["unmounted layer a", "unmounted layer c"]);
  const MNT_DETACH = 2;
  assertEquals(
    recorder.calls,
    ["a", "b", "c"].map((id) => (
      { call: "unmount", target: `$R/aufs/mnt/${id}`, flags: MNT_DETACH } as const
    )),
  );
  assertEquals(warnings.length, 1);
  assert(warnings[0].startsWith("layer b: unmount "), warnings[0]);
});

test("TestMountedFalseResponse: what is not mounted has no mount point", (dir) => {
  const driver = openGraph(dir);
  driver.create("1");
  assertEquals(driver.layer("1").mountPoint, undefined);
});

test("TestCreateWithInvalidParent: nothing is made", (dir) => {
  const driver = openGraph(dir);
  const before = treeNames(driver.home);
  assertFails("not found", () => driver.create("1", { parent: "docker" }));
  assertEquals(treeNames(driver.home), before);
});

test("TestGetDiff: a base layer's files as a tar", (dir) => {
  const driver = openGraph(dir);
  fill(driver, "1", (root) => Deno.writeTextFileSync(`${root}/test_file`, "content"));
  const tar = diff(driver, "1", undefined, dir.path);
  assertEquals(must("tar", "-tf", tar), "test_file\n");
  driver.cleanup();
});

test("diff: aufs's own form is kept, its metadata is left out", (dir) => {
  const driver = openGraph(dir);
  driver.create("1");
  driver.create("2", { parent: "1" });
  Deno.mkdirSync(`${driver.home}/diff/1/dir`);
  Deno.writeTextFileSync(`${driver.home}/diff/1/gone`, "");
  const root = `${driver.home}/diff/2`;
  for (const name of [".wh..wh.orph", ".wh..wh.plnk", "dir"]) Deno.mkdirSync(`${root}/${name}`);
  for (
    const name of [
      ...[".wh..wh.aufs", ".wh.gone", ".wh.none", "dir/.wh..wh..opq", "dir/.wh.none"],
      ...["dir/file", ".wh..wh.plnk/2.3"],
    ]
  ) Deno.writeTextFileSync(`${root}/${name}`, "");
  const tar = diff(driver, "2", undefined, dir.path);
  assertEquals(must("tar", "-tf", tar), ".wh.gone\ndir/\ndir/.wh..wh..opq\ndir/file\n");
});

test("TestChanges: over all layers below", (dir) => {
  const driver = openGraph(dir);
  chain(open(`${dir.path}/root`), ["1", "2", "3"]);
  const write = (id: string, name: string, text = id) => {
    Deno.writeTextFileSync(`${driver.home}/diff/${id}/${name}`, text);
  };
  for (const id of ["1", "2", "3"]) Deno.mkdirSync(`${driver.home}/diff/${id}/dir`);
  write("1", "dir/a");
  write("1", "dir/b");
  write("1", "far");
  write("2", "dir/.wh.a", "");
  write("2", "near");
  write("3", "dir/a");
  write("3", "dir/.wh.b", "");
  write("3", "far");
  write("3", ".wh.near", "");
  write("3", ".wh.never", "");
  write("3", ".wh..wh.aufs", "");
  assertEquals(lines(driver.changes("2", undefined)), ["C /dir", "D /dir/a", "A /near"]);
  assertEquals(lines(driver.changes("3", undefined)), [
    "C /dir",
    "A /dir/a",
    "D /dir/b",
    "C /far",
    "D /near",
  ]);
});

test("TestDiffSize, TestChildDiffSize: the bytes of a layer's own files", (dir) => {
  const driver = openGraph(dir);
  fill(driver, "1", (root) => {
    Deno.writeFileSync(`${root}/file`, new Uint8Array(1024));
    Deno.linkSync(`${root}/file`, `${root}/again`);
  });
  driver.create("2", { parent: "1" });
  assertEquals(driver.diffSize("1", undefined), 1024);
  assertEquals(driver.diffSize("2", undefined), 0);
  Deno.writeFileSync(`${driver.home}/diff/2/.wh.file`, new Uint8Array(5));
  assertEquals(driver.diffSize("2", undefined), 0);
  driver.cleanup();
});

test("TestExists: what was created, by its whole name", (dir) => {
  const driver = openGraph(dir);
  driver.create("1");
  assertEquals(["1", "none", "1-removing"].map((id) => driver.exists(id)), [true, false, false]);
});

test("TestStatus: the lines, and how many layers there are", (dir) => {
  const driver = openGraph(dir);
  const recorder = new Recorder(`${dir.path}/root`, false);
  driver.create("1");
  assertEquals(open(`${dir.path}/root`, { port: recorder, backing: "xfs" }).status(), [
    ["Root Dir", driver.home],
    ["Backing Filesystem", "xfs"],
    ["Dirs", "1"],
    ["Dirperm1 Supported", "false"],
  ]);
  const able = new Recorder(`${dir.path}/root`, true);
  assertEquals(open(`${dir.path}/root`, { port: able }).status()[3], [
    "Dirperm1 Supported",
    "true",
  ]);
});

test("metadata: where a layer's directories are", (dir) => {
  const driver = openGraph(dir);
  chain(open(`${dir.path}/root`), ["1", "2", "3"]);
  const at = (path: string) => `${driver.home}/${path}`;
  assertEquals([...driver.getMetadata("1")], [["MergedDir", at("mnt/1")], [
    "UpperDir",
    at("diff/1"),
  ]]);
  assertEquals(driver.getMetadata("3").get("LowerDir"), `${at("diff/2")}:${at("diff/1")}`);
});

test("TestApplyDiff: a tar goes into the layer's directory, whiteouts as aufs reads them", (dir) => {
  const driver = openGraph(dir);
  driver.create("0");
  Deno.mkdirSync(`${driver.home}/diff/0/dir`);
  Deno.writeTextFileSync(`${driver.home}/diff/0/gone`, "");
  for (const id of ["1", "2"]) driver.create(id, { parent: "0" });
  const tree = `${dir.path}/tree`;
  Deno.mkdirSync(`${tree}/dir`, { recursive: true });
  Deno.mkdirSync(`${tree}/.wh..wh.plnk`);
  for (
    const name of [
      "file",
      ".wh.none",
      ".wh.gone",
      "dir/.wh..wh..opq",
      ".wh..wh.aufs",
      ".wh..wh.orph",
      ".wh..wh.plnk/2.3",
    ]
  ) Deno.writeTextFileSync(`${tree}/${name}`, "");
  const tar = tarOf(tree, `${dir.path}/layer.tar`);
  for (const id of ["1", "2"]) {
    apply(driver, id, tar);
    assertEquals(treeNames(`${driver.home}/diff/${id}`), [
      `${driver.home}/diff/${id}`,
      `${driver.home}/diff/${id}/.wh.gone`,
      `${driver.home}/diff/${id}/dir`,
      `${driver.home}/diff/${id}/dir/.wh..wh..opq`,
      `${driver.home}/diff/${id}/file`,
    ]);
  }
  driver.create("3", { parent: "2" });
  apply(driver, "3", diff(driver, "2", undefined, dir.path));
  assertEquals(lines(driver.changes("3", undefined)), []);
});

test("an incomplete layer starts over with its own root, and what aufs left is no content", (dir) => {
  const driver = openGraph(dir);
  driver.create("1");
  lchownSync(`${driver.home}/diff/1`, 7, 8);
  driver.create("2", { parent: "1" });
  const root = `${driver.home}/diff/2`;
  Deno.mkdirSync(`${root}/.wh..wh.plnk`);
  Deno.writeTextFileSync(`${root}/.wh..wh.aufs`, "");
  assert(open(`${dir.path}/root`).isPristine("2"));
  Deno.writeTextFileSync(`${root}/.wh..wh..opq`, "");
  assert(!open(`${dir.path}/root`).isPristine("2"), "an opaque root is content");
  Deno.removeSync(`${root}/.wh..wh..opq`);
  const junk = `${dir.path}/junk.tar`, whole = `${dir.path}/whole.tar`;
  Deno.mkdirSync(`${dir.path}/tree`);
  Deno.writeTextFileSync(`${dir.path}/tree/file`, "content".repeat(1000));
  tarOf(`${dir.path}/tree`, whole);
  Deno.writeFileSync(junk, Deno.readFileSync(whole).subarray(0, 4096));
  const { message } = assertThrows(() => apply(driver, "2", junk), Error);
  assert(message.includes("layer 2 is incomplete"), message);
  assertEquals(driver.layer("2").incomplete, true);
  assertEquals(names(root), []);
  assertEquals(ownership(root), "755 7:8");
  apply(driver, "2", whole);
  assertEquals(names(root), ["file"]);
  assertEquals(driver.layer("2").incomplete, false);
});

test("TestInitStaleCleanup: removals that were interrupted are finished at open", (dir) => {
  const driver = openGraph(dir);
  driver.create("kept");
  for (const path of ["diff/a-removing/deep", "mnt/a-removing", "diff/kept-removing"]) {
    Deno.mkdirSync(`${driver.home}/${path}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${driver.home}/diff/a-removing/deep/file`, "");
  const again = openGraph(dir);
  for (const part of ["diff", "layers", "mnt"]) {
    assertEquals(names(`${driver.home}/${part}`), ["kept"], part);
  }
  assertEquals(names(`${driver.home}/.veneer/staging`), []);
  assertEquals(again.layers().map(({ id }) => id), ["kept"]);
});

test("what is half made or half removed is no layer, and is deleted at open", (dir) => {
  const driver = openGraph(dir);
  const { home } = driver;
  driver.create("whole");
  const before = treeNames(home);
  // Killed after each step of a create, and of a removal: what is staged says that the rest is not to stay.
  for (
    const paths of [
      ["staging/x/diff"],
      ["staging/x", "diff/x", "mnt/x"],
      ["staging/x", "diff/x-removing", "mnt/x"],
      ["staging/x", "mnt/x-removing"],
      ["staging/x"],
    ]
  ) {
    for (const path of paths) {
      const at = path.startsWith("staging") ? `${home}/.veneer/${path}` : `${home}/${path}`;
      Deno.mkdirSync(at, { recursive: true });
    }
    assertEquals(driver.exists("x"), false);
    assertEquals(driver.layers().map(({ id }) => id), ["whole"]);
    openGraph(dir);
    assertEquals(treeNames(home), before, paths.join(" "));
  }
  // Killed after the record was in place: the layer is whole, and stays.
  Deno.mkdirSync(`${home}/.veneer/staging/whole`);
  openGraph(dir);
  assertEquals(treeNames(home), before);
});

test("a name that another program mounts on or fills is not deleted with a failed create", (dir) => {
  const driver = openGraph(dir);
  Deno.mkdirSync(`${driver.home}/mnt/x`);
  Deno.writeTextFileSync(`${driver.home}/mnt/x/precious`, "content");
  assertFails("corrupt store", () => driver.create("x"));
  assertEquals(read(`${driver.home}/mnt/x/precious`), "content");
  Deno.removeSync(`${driver.home}/mnt/x/precious`);
  driver.create("x");
});

test("a damaged record is named", (dir) => {
  const driver = openGraph(dir);
  chain(open(`${dir.path}/root`), ["a", "b", "c"]);
  const record = `${driver.home}/layers/c`;
  for (
    const [text, said] of [
      ["../../etc\n", `${record} holds "../../etc", which is not a layer id`],
      ["b\nb\n", `${record} names layer b a second time`],
      ["c\n", `${record} names layer c a second time`],
      ["b\nx\n", `${record} names layer x, and ${driver.home}/diff/x does not exist`],
    ]
  ) {
    Deno.writeTextFileSync(record, text);
    const { message } = assertFails("corrupt store", () => driver.diffSize("c", undefined));
    assert(message.startsWith(said), message);
  }
  Deno.writeTextFileSync(record, "\nb\n\na");
  assertEquals(driver.layer("c").parent, "b");
  Deno.removeSync(`${driver.home}/diff/c`);
  assertFails("corrupt store", () => driver.diffSize("c", undefined));
  driver.remove("c");
});

test("ids that end as what is being deleted, and storage options, are refused", (dir) => {
  const driver = openGraph(dir);
  const { message } = assertFails("invalid argument", () => driver.create("x-removing"));
  assert(
    message.startsWith("layer id x-removing: names that end in -removing are reserved"),
    message,
  );
  for (const create of [driver.create, driver.createReadWrite]) {
    const storageOptions = new Map([["size", "1G"]]);
    const error = assertFails(
      "invalid argument",
      () => create.call(driver, "x", { storageOptions }),
    );
    assert(
      error.message.startsWith("storage option size: layers of aufs have no options"),
      error.message,
    );
  }
  driver.create(`${"x".repeat(191)}-removin.`);
  assertFails("invalid argument", () => driver.create("y", { mountLabel: 'a"b' }));
});

test("aufs does not stand on every file system", () => {
  // Numbers of linux/magic.h, and of aufs's own header.
  for (
    const [type, name] of [[0x61756673, "aufs"], [0x9123683e, "btrfs"], [
      0xf15f,
      "ecryptfs",
    ]] as const
  ) {
    const problem = checkBacking("/store", { ...statfs("/"), type });
    assertEquals(problem?.code, "incompatible");
    assert(problem?.message.startsWith(`/store is on ${name}, which aufs`), problem?.message);
  }
  for (const type of [0xef53, 0x58465342, 0x01021994]) {
    assertEquals(checkBacking("/store", { ...statfs("/"), type }), undefined);
  }
});

test("it is refused on btrfs, with nothing changed", (dir) => {
  Deno.mkdirSync(`${dir.path}/root/aufs/layers`, { recursive: true });
  const { message } = assertFails("incompatible", () => openStore(dir));
  assert(message.includes("is on btrfs, which aufs cannot stand on"), message);
  assertEquals(treeNames(`${dir.path}/root`).length, 3);
  assert(aufs.examine(`${dir.path}/root`).some(({ state }) => state === "missing"));
}, TEST_FS === "btrfs" ? null : "it is for btrfs");

test("the most branches of a mount are what aufs, or else the kernel, says of how it was built", (dir) => {
  const config = `${dir.path}/config`, zipped = `${dir.path}/config.gz`;
  Deno.writeFileSync(
    zipped,
    gzipSync(
      "CONFIG_AUFS_FS=y\n# CONFIG_AUFS_BRANCH_MAX_127 is not set\nCONFIG_AUFS_BRANCH_MAX_511=y\n",
    ),
  );
  assertEquals(branchLimit([config, zipped]), 511);
  assertEquals(branchLimit([config]), undefined);
  Deno.writeTextFileSync(
    config,
    "CONFIG_AUFS_FS=m\nCONFIG_AUFS_BRANCH_MAX_127=y\nCONFIG_AUFS_SBILIST=y\n",
  );
  assertEquals(branchLimit([config]), 127);
  Deno.writeTextFileSync(config, "CONFIG_AUFS_FS=m\nCONFIG_AUFS_BRANCH_MAX_1023=y\n");
  assertEquals(branchLimit([config, zipped]), 1023);
  Deno.writeTextFileSync(config, "CONFIG_EXT4_FS=y\n");
  assertEquals(
    branchLimit([config, zipped]),
    511,
    "a kernel's configuration does not have a module's",
  );
  Deno.writeTextFileSync(zipped, "no archive");
  assertEquals(branchLimit([config, zipped]), undefined);
  Deno.writeFileSync(zipped, gzipSync(new Uint8Array(100 << 20)));
  assertEquals(branchLimit([zipped]), undefined, "nobody's configuration is as large as that");
  assertEquals(branchLimitFor(127), undefined, "so many every aufs takes");
});

test("modules.dep tells of a module, whether it is loaded or not", (dir) => {
  const modules = dir.path;
  assert(!hasModule("aufs", modules));
  Deno.writeTextFileSync(
    `${modules}/modules.dep`,
    "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz\n",
  );
  assert(!hasModule("aufs", modules) && hasModule("ext4", modules) && !hasModule("crc16", modules));
  Deno.writeTextFileSync(
    `${modules}/modules.dep`,
    "kernel/fs/xaufs.ko:\nupdates/dkms/aufs.ko.zst:\n",
  );
  assert(hasModule("aufs", modules));
});

// What a kernel without aufs does is shown on this one, where it lacks it.
const onlyWithout = refused ?? (lacking === undefined ? "the kernel has aufs" : undefined);

const MODULES = "/lib/modules";

test("doctor reports aufs as a module, and does not have it loaded", (dir) => {
  // In place of the kernel's modprobe, if it has one: a program that writes down its arguments.
  const modprobe = `${dir.path}/modprobe`, asked = `${dir.path}/asked`;
  Deno.writeTextFileSync(modprobe, `#!/bin/sh\necho "$@" >>${asked}\n`, { mode: 0o755 });
  Deno.writeTextFileSync(`${dir.path}/sysctl`, `${modprobe}\n`);
  const sysctl = "/proc/sys/kernel/modprobe";
  const doctor = (setup: string) => {
    Deno.writeTextFileSync(asked, "");
    const script = `set -e; cd ${dir.path}; mount -t tmpfs tmpfs ${MODULES}; ${setup}
      [ ! -e ${sysctl} ] || mount --bind sysctl ${sysctl}; "$@" || true`;
    const command = [...PROGRAM, "--root", `${dir.path}/root`, "doctor"];
    const stdout = must("unshare", "--mount", "sh", "-c", script, "sh", ...command);
    assert(!read(asked).split("\n").includes("aufs"), read(asked));
    return stdout;
  };
  assertStringIncludes(doctor(""), "✗ the kernel has no aufs file system, and no module of it");
  const directory = `${MODULES}/${Deno.osRelease()}`;
  const listed = `mkdir ${directory}; echo updates/dkms/aufs.ko.zst: >${directory}/modules.dep`;
  assertStringIncludes(doctor(listed), "✓ aufs is a module, which the first mount loads");
}, onlyWithout ?? (isThere(MODULES) ? undefined : `there is no ${MODULES}`));

test("without aufs no store is made, and one that is there opens", (dir) => {
  const { message } = assertFails("not supported", () => openStore(dir));
  assert(message.startsWith("the kernel has no aufs file system, and `modprobe aufs`"), message);
  assertEquals(names(dir.path), []);
  Deno.mkdirSync(`${dir.path}/root/aufs/layers`, { recursive: true });
  openStore(dir).create("1");
  assertEquals(openStore(dir, "auto").name, "aufs");
}, onlyWithout);

test("without aufs, all but mounting works, and mounting says in one line what lacks", (dir) => {
  Deno.mkdirSync(`${dir.path}/root/aufs/layers`, { recursive: true });
  const driver = openStore(dir);
  driver.create("1");
  Deno.mkdirSync(`${dir.path}/tree`);
  Deno.writeTextFileSync(`${dir.path}/tree/file`, "content");
  apply(driver, "1", tarOf(`${dir.path}/tree`, `${dir.path}/tar`));
  driver.create("2", { parent: "1" });
  assertEquals(Deno.readFileSync(diff(driver, "2", undefined, dir.path)), EMPTY_TAR);
  for (const readOnly of [false, true]) {
    assert(driver.get("1", { readOnly }).endsWith("/mnt/1"), "it has a child");
    driver.put("1");
  }
  const mounting = [
    () => driver.get("2"),
    () => driver.get("2", { readOnly: true }),
    () => driver.mounts("2"),
    () => lines(driver.changes("2", "")),
  ];
  for (const call of mounting) {
    assertEquals(
      assertFails("not supported", call).message,
      "layer 2 cannot be mounted: the kernel has no aufs file system, and `modprobe aufs` does not load " +
        "one; layers can still be listed, exported, compared, applied to and removed",
    );
  }
  assertEquals(driver.layer("2").references, 0);
  assertEquals(driver.status()[3], ["Dirperm1 Supported", "false"]);
  driver.remove("2");
  driver.remove("1");
  driver.cleanup();
}, onlyWithout);

test("doctor says what aufs finds", (dir) => {
  const [kernel, backing, ...more] = aufs.examine(dir.path);
  assertEquals(backing.state, "ok");
  if (lacking === undefined) {
    assertEquals([kernel.state, more.length], ["ok", 2]);
  } else {
    assertEquals([kernel.state, more.length], ["missing", 0]);
    assert(kernel.remedy?.includes("listed, exported"), kernel.remedy);
  }
});
