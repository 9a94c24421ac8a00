/** What is overlay2's own: its layout, its mounts, what it refuses. On the backend, without the graph. */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { lchownSync } from "node:fs";
import { overlay2 } from "../../drivers/overlay2/mod.ts";
import { takesLowersOneByOne } from "../../drivers/overlay2/kernel.ts";
import {
  checkBacking,
  checkEntryTypes,
  checkKernelVersion,
} from "../../drivers/overlay2/support.ts";
import { parseDriverOptions } from "../../drivers/overlay2/options.ts";
import { O_DIRECTORY, O_RDONLY, open as openFile, withFd } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { attach } from "../../ffi/loop.ts";
import { mount, umount } from "../../ffi/mount.ts";
import { statfs } from "../../ffi/statfs.ts";
import { lsetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../../lib/errors.ts";
import type { GetOptions, LayerBackend } from "../../lib/graph_driver.ts";
import { IDENTITY, IdMap, type IdMaps } from "../../lib/id_maps.ts";
import { performPlan, undoPlan } from "../../lib/mount_plan.ts";
import { kernelMountPort } from "../../lib/mount_port.ts";
import { isMountPoint, readMountInfo } from "../../lib/mountinfo.ts";
import { quotaLacking } from "../../lib/project_quota.ts";
import { mountImage } from "../images.ts";
import {
  lacksFileSystem,
  lacksProgram,
  mountPoints,
  must,
  needs,
  run,
  type TempDir,
  tempDir,
} from "../support.ts";
import { assertFails } from "./conformance.ts";

const lacking = lacksFileSystem("overlay");
const directory = Deno.env.get("VENEER_TEST_DIR") ?? "/tmp";
const lackingNew = lacking ??
  (takesLowersOneByOne(directory) ? undefined : "overlay of this kernel does not take lowerdir+");

type Api = "new" | "old";
const APIS: readonly [Api, string | undefined][] = [["new", lackingNew], ["old", lacking]];

function open(root: string, options: Record<string, string> = {}, idMaps = IDENTITY): LayerBackend {
  const all = new Map(Object.entries({ "overlay2.allow_btrfs": "true", ...options }));
  return overlay2.open({ root, options: all, idMaps, warn: () => {} });
}

const apiOption = (api: Api) => ({ "overlay2.mount_api": api });

function create(backend: LayerBackend, id: string, parent?: string): void {
  backend.create(id, {
    parent,
    readWrite: false,
    mountLabel: undefined,
    storageOptions: new Map(),
  });
}

/** Layers `1` to `count`, each with a file of its own. */
function chain(backend: LayerBackend, count: number): void {
  for (let i = 1; i <= count; i++) {
    create(backend, `${i}`, i === 1 ? undefined : `${i - 1}`);
    Deno.writeTextFileSync(backend.home.join(`${i}`, "diff", `file-${i}`), `${i}`);
  }
}

function withMount<T>(
  backend: LayerBackend,
  id: string,
  use: (root: string) => T,
  options: GetOptions = {},
): T {
  const plan = backend.plan(id, options);
  performPlan(plan, kernelMountPort);
  try {
    return use(plan.path);
  } finally {
    undoPlan(backend.plan(id, {}), kernelMountPort, (target, error) => {
      throw new Error(`${target} is busy`, { cause: error });
    });
  }
}

const read = (path: string) => Deno.readTextFileSync(path);
const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

function ownership(path: string): string {
  const { mode, uid, gid } = Deno.lstatSync(path);
  return `${(mode! & 0o7777).toString(8)} ${uid}:${gid}`;
}

function test(name: string, body: (dir: TempDir) => void, lacks = lacking): void {
  needs(lacks, `overlay2 ${name}`, () => {
    using dir = tempDir();
    body(dir);
  });
}

const MAPPED: IdMaps = {
  uids: new IdMap([{ container: 0, host: 100_000, size: 65_536 }]),
  gids: new IdMap([{ container: 0, host: 200_000, size: 65_536 }]),
};

// Layout

test("layout: a base layer and a child, byte by byte", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  assertEquals(home.path, `${Deno.realPathSync(dir.path)}/overlay2`);
  create(backend, "base");
  create(backend, "child", "base");
  create(backend, "grandchild", "child");
  assertEquals(names(home.path), [".veneer", "base", "child", "grandchild", "l"]);
  assertEquals(names(home.join("base")), ["diff", "link"]);
  assertEquals(names(home.join("child")), ["diff", "link", "lower", "work"]);
  const links = ["base", "child", "grandchild"].map((id) => read(home.join(id, "link")));
  for (const link of links) assertMatch(link, /^[A-Z2-7]{26}$/);
  assertEquals(read(home.join("child/lower")), `l/${links[0]}`);
  assertEquals(read(home.join("grandchild/lower")), `l/${links[1]}:l/${links[0]}`);
  assertEquals(names(home.join("l")), links.toSorted());
  assertEquals(Deno.readLinkSync(home.join("l", links[0])), "../base/diff");
  assertEquals(Deno.readLinkSync(home.join("l", links[1])), "../child/diff");
  const modes = ["", "l", "base", "base/link", "base/diff", "child/lower", "child/work"];
  assertEquals(modes.map((path) => ownership(home.join(path))), [
    "710 0:0",
    "700 0:0",
    "710 0:0",
    "644 0:0",
    "755 0:0",
    "644 0:0",
    "700 0:0",
  ]);
  assertEquals(backend.list(), ["base", "child", "grandchild"]);
  assertEquals(backend.parent("base"), "");
  assertEquals(backend.parent("grandchild"), "child");
});

test("layout: owners by id map, whatever the umask", (dir) => {
  const backend = open(dir.path, {}, MAPPED);
  create(backend, "base");
  create(backend, "child", "base");
  const paths = ["", "base", "base/diff", "child/diff", "child/work"];
  assertEquals(paths.map((path) => ownership(backend.home.join(path))), [
    "710 0:200000",
    "710 0:200000",
    "755 100000:200000",
    "755 100000:200000",
    "700 100000:200000",
  ]);
  withMount(backend, "child", (root) => {
    assertEquals(ownership(root), "755 100000:200000");
    assertEquals(ownership(backend.home.join("child/merged")), "755 100000:200000");
    assertEquals(ownership(backend.home.join("child/work/work")), "0 100000:200000");
  });
});

test("layout: a child's root begins as its parent's", (dir) => {
  const backend = open(dir.path);
  create(backend, "base");
  const diff = backend.home.join("base/diff");
  lchownSync(diff, 5, 6);
  Deno.chmodSync(diff, 0o1777);
  lsetxattr(diff, "user.note", new TextEncoder().encode("kept"));
  lsetxattr(diff, "trusted.overlay.opaque", new TextEncoder().encode("y"));
  create(backend, "child", "base");
  assertEquals(ownership(backend.home.join("child/diff")), "1777 5:6");
  const xattrs = must(
    "getfattr",
    "-d",
    "-m",
    "-",
    "--absolute-names",
    backend.home.join("child/diff"),
  );
  assert(xattrs.includes('user.note="kept"'), xattrs);
  assert(!xattrs.includes("trusted.overlay"), xattrs);
}, lacking ?? lacksProgram("getfattr"));

/** A store as Docker leaves it: names and contents as its driver writes them. */
function dockerStore(root: string): void {
  const home = `${root}/overlay2`;
  const layers = [
    ["8f2f6b1d4a10", "OYEVNUHBFI5AWPRHHS2FHQDYV2", undefined],
    ["0b1c9a8e7f66-init", "Z4CVOFMDBNLYTBJG4SVDC5QFBL", "l/OYEVNUHBFI5AWPRHHS2FHQDYV2"],
    [
      "0b1c9a8e7f66",
      "ACU7LKWUTVYAIQN2GFXPF3AYVA",
      "l/Z4CVOFMDBNLYTBJG4SVDC5QFBL:l/OYEVNUHBFI5AWPRHHS2FHQDYV2",
    ],
  ] as const;
  Deno.mkdirSync(`${home}/l`, { recursive: true, mode: 0o710 });
  for (const [id, link, lower] of layers) {
    Deno.mkdirSync(`${home}/${id}/diff`, { recursive: true });
    Deno.writeTextFileSync(`${home}/${id}/diff/from-${id}`, id);
    Deno.writeTextFileSync(`${home}/${id}/link`, link);
    Deno.symlinkSync(`../${id}/diff`, `${home}/l/${link}`);
    if (lower === undefined) continue;
    Deno.writeTextFileSync(`${home}/${id}/lower`, lower);
    Deno.mkdirSync(`${home}/${id}/work/work`, { recursive: true });
  }
  // What the driver of other versions leaves beside: marks of layers with children, and its probe.
  Deno.writeTextFileSync(`${home}/8f2f6b1d4a10/committed`, "");
  Deno.mkdirSync(`${home}/0b1c9a8e7f66-init/merged`);
  Deno.writeTextFileSync(`${home}/backingFsBlockDev`, "");
}

test("layout: a store of Docker's is read, mounted, extended and removed from", (dir) => {
  dockerStore(dir.path);
  const backend = open(dir.path);
  assertEquals(backend.list(), ["0b1c9a8e7f66", "0b1c9a8e7f66-init", "8f2f6b1d4a10"]);
  assertEquals(backend.parent("0b1c9a8e7f66"), "0b1c9a8e7f66-init");
  assertEquals(backend.parent("0b1c9a8e7f66-init"), "8f2f6b1d4a10");
  assertEquals(backend.parent("8f2f6b1d4a10"), "");
  withMount(backend, "0b1c9a8e7f66", (root) => {
    assertEquals(names(root), [
      "from-0b1c9a8e7f66",
      "from-0b1c9a8e7f66-init",
      "from-8f2f6b1d4a10",
    ]);
  });
  create(backend, "mine", "0b1c9a8e7f66");
  assertEquals(
    read(backend.home.join("mine/lower")),
    "l/ACU7LKWUTVYAIQN2GFXPF3AYVA:l/Z4CVOFMDBNLYTBJG4SVDC5QFBL:l/OYEVNUHBFI5AWPRHHS2FHQDYV2",
  );
  withMount(backend, "mine", (root) => assertEquals(names(root).length, 3));
  for (const id of ["mine", "0b1c9a8e7f66"]) {
    backend.retire(id);
    backend.dispose(id);
  }
  assertEquals(names(backend.home.join("l")), [
    "OYEVNUHBFI5AWPRHHS2FHQDYV2",
    "Z4CVOFMDBNLYTBJG4SVDC5QFBL",
  ]);
});

test("layout: metadata as Docker names it", (dir) => {
  const backend = open(dir.path);
  chain(backend, 3);
  const at = (part: string) => backend.home.join(part);
  assertEquals([...backend.metadata("3")], [
    ["LowerDir", `${at("2/diff")}:${at("1/diff")}`],
    ["WorkDir", at("3/work")],
    ["MergedDir", at("3/merged")],
    ["UpperDir", at("3/diff")],
  ]);
  assertEquals([...backend.metadata("1").keys()], ["WorkDir", "MergedDir", "UpperDir"]);
});

test("layout: the directory of links is no layer", (dir) => {
  const backend = open(dir.path);
  assertFails("invalid argument", () => backend.checkId("l"));
  backend.checkId("L");
  assert(!backend.exists("l"));
  assertEquals(backend.list(), []);
});

// Damage

test("a damaged store is named by file", (dir) => {
  const backend = open(dir.path);
  chain(backend, 2);
  const { home } = backend;
  const link = read(home.join("1/link")), lower = read(home.join("2/lower"));
  const damaged = (file: string, change: () => void, call: () => void) => {
    change();
    const error = assertFails("corrupt store", call);
    assert(error.message.includes(home.join(file)), error.message);
  };
  const write = (file: string, content: string) => Deno.writeTextFileSync(home.join(file), content);
  const relink = (target: string) => {
    Deno.removeSync(home.join("l", link));
    Deno.symlinkSync(target, home.join("l", link));
  };

  for (const garbage of ["", "garbage", "l/../../etc", `${lower}:`, "/etc", "l/A,upperdir=/etc"]) {
    damaged("2/lower", () => write("2/lower", garbage), () => backend.parent("2"));
    assertFails("corrupt store", () => backend.plan("2", {}));
  }
  write("2/lower", lower);
  for (const target of ["/etc", "../../../etc/diff", "../l/diff", "../.veneer/diff", "../1"]) {
    damaged(`l/${link}`, () => relink(target), () => backend.parent("2"));
    assertThrows(() => withMount(backend, "2", () => {}), VeneerError);
  }
  Deno.removeSync(home.join("l", link));
  damaged("2/lower", () => {}, () => withMount(backend, "2", () => {}));
  write(`l/${link}`, "a file");
  damaged(`l/${link}`, () => {}, () => backend.parent("2"));
  Deno.removeSync(home.join("l", link));
  Deno.symlinkSync("../1/diff", home.join("l", link));
  damaged("1/link", () => write("1/link", "../x"), () => create(backend, "3", "1"));
  damaged("1/link", () => Deno.removeSync(home.join("1/link")), () => create(backend, "3", "1"));
  write("1/link", link);
  damaged(
    "1/diff",
    () => Deno.renameSync(home.join("1/diff"), home.join("1/moved")),
    () => withMount(backend, "2", () => {}),
  );
  assertEquals(names(home.path), [".veneer", "1", "2", "l"]);
  assertEquals(mountPoints(dir.path), []);
});

test("what is left of a layer is listed, and removed", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  chain(backend, 2);
  Deno.removeSync(home.join("2/link"));
  Deno.removeSync(home.join("2/diff"), { recursive: true });
  for (const [id, part] of [["only-lower", "lower"], ["only-work", "work/work"], ["empty", ""]]) {
    Deno.mkdirSync(home.join(id, part), { recursive: true });
  }
  Deno.mkdirSync(home.join("-no-id/diff"), { recursive: true });
  assertEquals(backend.list(), ["1", "2", "only-lower", "only-work"]);
  assertEquals(backend.parent("only-work"), undefined);
  assertEquals(backend.parent("2"), "1");
  for (const id of ["2", "only-lower", "only-work", "empty"]) {
    assert(backend.exists(id));
    backend.retire(id);
    assert(!backend.exists(id));
    backend.dispose(id);
  }
  assertEquals(backend.list(), ["1"]);
  assertEquals(home.staged(), []);
});

test("what a killed create left is disposed of at every step", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  create(backend, "base");
  const link = "KILLEDKILLEDKILLEDKILLEDAB";
  const steps: (() => void)[] = [
    () => Deno.mkdirSync(home.staging("x")),
    () => Deno.mkdirSync(home.staging("x") + "/diff"),
    () => Deno.writeTextFileSync(home.staging("x") + "/link", ""),
    () => Deno.writeTextFileSync(home.staging("x") + "/link", link),
    () => Deno.symlinkSync("../x/diff", home.join("l", link)),
  ];
  for (let count = 1; count <= steps.length; count++) {
    for (const step of steps.slice(0, count)) step();
    backend.dispose("x");
    assertEquals(home.staged(), []);
    assertEquals(names(home.join("l")), [read(home.join("base/link"))]);
    backend.dispose("x");
  }
  create(backend, "x", "base");
});

test("disposing of a layer leaves the link of one that has its id now", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  create(backend, "x");
  const link = read(home.join("x/link"));
  // The same link as the layer in place, and one of another layer: neither is what was put aside.
  for (const claimed of [link, "OTHEROTHEROTHEROTHEROTHERA"]) {
    Deno.mkdirSync(home.staging("x"));
    Deno.writeTextFileSync(home.staging("x") + "/link", claimed);
    if (claimed !== link) Deno.symlinkSync("../other/diff", home.join("l", claimed));
    backend.dispose("x");
  }
  assertEquals(names(home.join("l")), [link, "OTHEROTHEROTHEROTHEROTHERA"].sort());
  withMount(backend, "x", () => {});
});

test("a name in a link file that leads elsewhere is not deleted", (dir) => {
  const backend = open(dir.path);
  Deno.writeTextFileSync(`${dir.path}/kept`, "");
  Deno.mkdirSync(backend.home.staging("x"));
  Deno.writeTextFileSync(backend.home.staging("x") + "/link", "../../kept");
  backend.dispose("x");
  assertEquals(read(`${dir.path}/kept`), "");
});

test("reset empties a layer and keeps what it is", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  chain(backend, 2);
  lchownSync(home.join("1/diff"), 3, 4);
  const before = ["link", "lower"].map((file) => read(home.join("2", file)));
  Deno.writeTextFileSync(home.join("2/work/left"), "");
  assert(!backend.isPristine("2"));
  for (const id of ["2", "1"]) {
    backend.reset(id);
    assert(backend.isPristine(id));
  }
  assertEquals(ownership(home.join("2/diff")), "755 3:4");
  assertEquals(["link", "lower"].map((file) => read(home.join("2", file))), before);
  assertEquals([names(home.join("1")), names(home.join("2/work"))], [["diff", "link"], []]);
  assertEquals(home.staged(), []);
  withMount(backend, "2", (root) => assertEquals(names(root), []));
});

// Mounts

for (const [api, lacks] of APIS) {
  const by = `by the ${api} calls`;

  test(`mounts ${by}: writes go to the layer alone, and all is undone`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 3);
    withMount(backend, "3", (root) => {
      assertEquals(root, backend.home.join("3/merged"));
      const info = readMountInfo().find(({ mountPoint }) => mountPoint === root);
      assertEquals([info?.type, info?.source], ["overlay", "overlay"]);
      assertEquals(names(root), ["file-1", "file-2", "file-3"]);
      Deno.writeTextFileSync(`${root}/file-1`, "changed");
      Deno.removeSync(`${root}/file-2`);
    });
    assertEquals(read(backend.home.join("1/diff/file-1")), "1");
    assertEquals(read(backend.home.join("3/diff/file-1")), "changed");
    assert(Deno.lstatSync(backend.home.join("3/diff/file-2")).isCharDevice);
    assertEquals(names(backend.home.join("3")), ["diff", "link", "lower", "work"]);
    assertEquals(mountPoints(dir.path), []);
    assertEquals(backend.plan("1", {}), { path: backend.home.join("1/diff"), steps: [] });
  }, lacks);

  for (
    const [what, name] of [
      ["a comma", "a,b"],
      ["a colon", "a:b"],
      ["a backslash", "a\\b"],
      ["a space", "a b"],
      ["an option in it", "a,upperdir=b:c"],
      ["letters of all kinds", "ä\"'\t#%40\u{1f40b}"],
      ["255 bytes and more", `${"long".repeat(50)}/${"longer".repeat(40)}`],
    ]
  ) {
    test(`mounts ${by} in a home with ${what}`, (dir) => {
      const root = `${dir.path}/${name}`;
      const backend = open(root, apiOption(api));
      chain(backend, 3);
      for (const readOnly of [false, true]) {
        withMount(backend, "3", (merged) => {
          assertEquals(names(merged), ["file-1", "file-2", "file-3"]);
          if (!readOnly) Deno.writeTextFileSync(`${merged}/file-3`, "written");
        }, { readOnly });
      }
      assertEquals(read(backend.home.join("3/diff/file-3")), "written");
      const target = `${dir.path}/target`;
      Deno.mkdirSync(target);
      const [triple] = backend.mounts("3", {});
      mount({ source: triple.source, target, type: triple.type, data: triple.options.join(",") });
      try {
        assertEquals(read(`${target}/file-1`), "1");
      } finally {
        umount(target);
      }
    }, lacks);
  }

  test(`mounts ${by} at the length where names become relative`, (dir) => {
    for (let length = 223; length <= 228; length++) {
      const home = `${Deno.realPathSync(dir.path)}/${"x".repeat(250)}`.slice(0, length - 8);
      const backend = open(home, apiOption(api));
      assertEquals(backend.home.path.length, length + 1);
      chain(backend, 2);
      withMount(backend, "2", (root) => assertEquals(names(root), ["file-1", "file-2"]));
    }
  }, lacks);

  test(`mounts ${by} with ids of 200 bytes`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    const long = (letter: string) => letter.repeat(200);
    create(backend, long("a"));
    create(backend, long("b"), long("a"));
    withMount(backend, long("b"), (root) => Deno.writeTextFileSync(`${root}/f`, ""));
    assertEquals(names(backend.home.join(long("b"), "diff")), ["f"]);
  }, lacks);

  test(`mounts ${by} read-only, without an upper directory`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    withMount(backend, "2", (root) => {
      assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""));
      assertEquals(names(root), ["file-1", "file-2"]);
      const mounted = readMountInfo().find(({ mountPoint }) => mountPoint === root);
      assert(!mounted?.superOptions.includes("upperdir"), mounted?.superOptions);
    }, { readOnly: true });
  }, lacks);

  test(`mounts ${by}: volatile only where asked for, and again after a clean end`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    const isVolatile = (root: string) =>
      // `fsync=volatile` where the kernel knows more ways than one.
      readMountInfo().find(({ mountPoint }) => mountPoint === root)!.superOptions.split(",")
        .some((option) => option === "volatile" || option === "fsync=volatile");
    withMount(backend, "2", (root) => assert(!isVolatile(root)));
    for (let i = 0; i < 2; i++) {
      withMount(backend, "2", (root) => assert(isVolatile(root)), { options: ["volatile"] });
    }
    withMount(backend, "2", (root) => assert(!isVolatile(root)));
    assertEquals(names(backend.home.join("2")), ["diff", "link", "lower", "work"]);
    assertFails("invalid argument", () => backend.plan("2", { options: ["volatil"] }));
  }, lacks);

  test(`mounts ${by}: after a volatile one that nobody ended, by what boot it was`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    const plan = backend.plan("2", { options: ["volatile"] });
    performPlan(plan, kernelMountPort);
    umount(plan.path); // As an administrator would, or a cleanup after a killed process.
    const mark = backend.home.join("2/work/work/incompat/volatile");
    assert(Deno.lstatSync(mark).isDirectory);
    const boot = backend.home.join("2/volatile"), content = read(boot);
    Deno.writeTextFileSync(boot, "of another boot");
    const error = assertFails("failed precondition", () => withMount(backend, "2", () => {}));
    assert(error.message.includes("volatile when the machine went down"), error.message);
    Deno.writeTextFileSync(boot, content);
    withMount(backend, "2", () => {});
    assertEquals(names(backend.home.join("2")), ["diff", "link", "lower", "work"]);
  }, lacks);

  test(`mounts ${by}: a label is passed on`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    const label = "system_u:object_r:container_file_t:s0";
    const steps = JSON.stringify(backend.plan("2", { label }).steps);
    assert(steps.includes(label), steps);
    if (run("test", "-e", "/sys/fs/selinux").success) return;
    // Without SELinux nobody knows the option: the kernel must hear of it, and refuse.
    assertThrows(() => withMount(backend, "2", () => {}, { label }), Error, "EINVAL");
    assertEquals(mountPoints(dir.path), []);
    assertFails("invalid argument", () => backend.plan("2", { label: 'a"b' }));
    assertFails("limit exceeded", () => backend.plan("2", { label: "x".repeat(5000) }));
  }, lacks);
}

test("a layer on 500 others is mounted, and 501 are refused with nothing changed", (dir) => {
  const backend = open(dir.path);
  chain(backend, 501);
  for (const readOnly of [false, true]) {
    withMount(backend, "501", (root) => {
      assertEquals(names(root).length, 501);
      assertEquals(read(`${root}/file-1`), "1");
      if (readOnly) assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""));
    }, { readOnly });
  }
  const before = names(backend.home.join("l"));
  const error = assertFails("limit exceeded", () => create(backend, "502", "501"));
  assertMatch(error.message, /501 layers.* 500 /);
  assertEquals(names(backend.home.join("l")), before);
  assertEquals(backend.home.staged(), []);
}, lackingNew);

test("by mount(2) a layer on 128 others is mounted, and 129 are refused", (dir) => {
  const backend = open(dir.path, apiOption("old"));
  chain(backend, 129);
  withMount(backend, "129", (root) => assertEquals(names(root).length, 129));
  const error = assertFails("limit exceeded", () => create(backend, "130", "129"));
  assertMatch(error.message, /129 layers.* 128 /);
  assertFails("limit exceeded", () => backend.mounts("129", {}));
  assertEquals(backend.home.staged(), []);
});

// What the probe of native diffs leaves

test("a probe leaves nothing, and is disposed of where it was killed", (dir) => {
  for (const [api, lacks] of APIS) {
    if (lacks !== undefined) continue;
    const backend = open(`${dir.path}/${api}`, apiOption(api));
    const status = new Map(backend.status());
    assertEquals(status.get("Native Overlay Diff"), "true");
    assertEquals(status.get("Using metacopy"), "false");
    assertEquals(status.get("Supports d_type"), "true");
    assertEquals(backend.home.staged(), []);
    assertEquals(mountPoints(dir.path), []);

    const killed = backend.home.staging(".probe-killed");
    for (const name of ["lower", "upper", "work", "merged"]) {
      Deno.mkdirSync(`${killed}/${name}`, { recursive: true });
    }
    const data = `lowerdir=${killed}/lower,upperdir=${killed}/upper,workdir=${killed}/work`;
    mount({ source: "overlay", target: `${killed}/merged`, type: "overlay", data });
    withFd(openFile(killed, O_RDONLY | O_DIRECTORY), (fd) => {
      assert(tryLock(fd, "exclusive"));
      backend.dispose(".probe-killed");
      assert(isMountPoint(`${killed}/merged`), "a probe that somebody is at is left alone");
    });
    backend.dispose(".probe-killed");
    assertEquals(backend.home.staged(), []);
    assertEquals(mountPoints(dir.path), []);
    backend.dispose(".probe-killed");
  }
});

// What it runs on

const options = (given: Record<string, string> = {}) =>
  parseDriverOptions(new Map(Object.entries(given)));

Deno.test("overlay2 wants kernel 4.0, or 3.10.0-514 of Red Hat", () => {
  for (
    const [release, works] of [
      ["6.18.44", true],
      ["4.0.0", true],
      ["3.19.0-generic", false],
      ["3.10.0-514.el7.x86_64", true],
      ["3.10.0-1160.119.1.el7.x86_64", true],
      ["3.10.0-327.el7.x86_64", false],
      ["3.10.0-600", false],
      ["unknown", false],
    ] as const
  ) {
    const problem = checkKernelVersion(release, options());
    assertEquals(problem === undefined, works, release);
    if (problem) assert(problem.message.includes("override_kernel_check"));
    const override = options({ "overlay2.override_kernel_check": "true" });
    assertEquals(checkKernelVersion(release, override), undefined);
  }
});

Deno.test("overlay2 does not stand on every file system", () => {
  // Numbers of linux/magic.h, of aufs's and ZFS's own headers.
  for (
    const [type, name] of [
      [0x61756673, "aufs"],
      [0x794c7630, "overlay"],
      [0x2fc12fc1, "zfs"],
      [0xf15f, "ecryptfs"],
      [0x6969, "nfs"],
      [0x9123683e, "btrfs"],
    ] as const
  ) {
    const backing = { ...statfs("/"), type };
    const problem = checkBacking("/store", backing, options());
    assertEquals(problem?.code, "incompatible");
    assert(problem?.message.startsWith(`/store is on ${name}`), problem?.message);
    const allowed = checkBacking("/store", backing, options({ "overlay2.allow_btrfs": "1" }));
    assertEquals(allowed === undefined, name === "btrfs");
  }
  for (const type of [0xef53, 0x58465342, 0x01021994]) {
    assertEquals(checkBacking("/store", { ...statfs("/"), type }, options()), undefined);
  }
});

test("is refused on overlay, with nothing changed", (dir) => {
  for (const name of ["lower", "upper", "work", "merged"]) Deno.mkdirSync(`${dir.path}/${name}`);
  const [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map((name) =>
    `${dir.path}/${name}`
  );
  const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  mount({ source: "overlay", target: merged, type: "overlay", data });
  const error = assertFails("incompatible", () => open(`${merged}/store`));
  assert(error.message.includes("on overlay"), error.message);
  assertEquals(names(upper), []);
  assert(overlay2.examine(`${merged}/store`).some(({ state }) => state === "missing"));
});

test("is refused on btrfs, unless asked for", (dir) => {
  using image = mountImage("btrfs", dir.path, 256 << 20);
  const error = assertFails(
    "incompatible",
    () => open(image.mountPoint, { "overlay2.allow_btrfs": "false" }),
  );
  assert(error.message.includes("overlay2.allow_btrfs=true"), error.message);
  assertEquals(names(image.mountPoint), []);
  const backend = open(image.mountPoint);
  chain(backend, 2);
  withMount(backend, "2", (root) => Deno.writeTextFileSync(`${root}/f`, ""));
}, lacking ?? lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs"));

test("is refused where directories do not say types, with nothing changed", (dir) => {
  const file = `${dir.path}/image`, target = `${dir.path}/target`;
  Deno.mkdirSync(target);
  Deno.writeTextFileSync(file, "");
  Deno.truncateSync(file, 64 << 20);
  must("mkfs.ext4", "-q", "-F", "-O", "^filetype", file);
  const device = attach(file, { autoclear: true });
  mount({ source: device.path, target, type: "ext4" });
  Deno.removeSync(`${target}/lost+found`);
  for (const root of [target, `${target}/a/b`]) {
    const error = assertFails("not supported", () => open(root));
    assert(error.message.includes("d_type"), error.message);
  }
  assertEquals(names(target), []);
  const xfs = { ...statfs(target), name: "xfs" };
  assert(checkEntryTypes(target, xfs)?.message.includes("mkfs.xfs -n ftype=1"));
}, lacking ?? lacksProgram("mkfs.ext4"));

test("examines a place without changing it", (dir) => {
  const findings = overlay2.examine(`${dir.path}/not/there`);
  assertEquals(names(dir.path), []);
  for (const { state, remedy } of findings) {
    assert(state === "ok" || remedy, JSON.stringify(findings));
  }
  const depth = lackingNew === undefined ? 500 : 128;
  assert(findings.some(({ what }) => what.includes(`up to ${depth} layers`)));
});

// Options

test("options are checked", (dir) => {
  for (
    const [key, value, part] of [
      ["overlay2.allow_btrfs", "perhaps", "true or false"],
      ["overlay2.override_kernel_check", "", "true or false"],
      ["overlay2.size", "big", "overlay2.size"],
      ["overlay2.inodes", "-1", "number of files"],
      ["overlay2.mount_api", "newest", "auto, new, old"],
      ["overlay2.sise", "1G", "did you mean overlay2.size?"],
    ]
  ) {
    const error = assertFails("invalid argument", () => open(dir.path, { [key]: value }));
    assert(error.message.includes(part), error.message);
  }
  assertEquals(names(dir.path), []);
});

test("a size is refused where there is no project quota, with the reason", (dir) => {
  const backend = open(dir.path);
  const storageOptions = new Map([["size", "1G"]]);
  const error = assertFails(
    "not supported",
    () =>
      backend.create("x", {
        parent: undefined,
        readWrite: true,
        mountLabel: undefined,
        storageOptions,
      }),
  );
  assertMatch(error.message, /^layer x, storage options size and inodes: .* p(rj)?quota/);
  assertEquals([backend.list(), backend.home.staged()], [[], []]);
  const default_ = assertFails("not supported", () => open(dir.path, { "overlay2.size": "1G" }));
  assertMatch(default_.message, /^-o overlay2.size and overlay2.inodes: .* p(rj)?quota/);
  open(dir.path, { "overlay2.size": "0" });
}, lacking ?? (quotaLacking(directory) ? undefined : "this file system has project quotas"));

test("lowerdir+ is not asked for where the kernel lacks it", (dir) => {
  const error = assertFails("not supported", () => open(dir.path, apiOption("new")));
  assert(error.message.includes("lowerdir+"), error.message);
}, lackingNew === undefined ? "overlay of this kernel takes lowerdir+" : lacking);
