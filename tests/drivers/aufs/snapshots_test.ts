/**
 * aufs's snapshots: the very mounts, what counts as mounted, what is counted, and what a kernel without aufs
 * does with a store. Calls of aufs go to a port that writes them down; what is expected of them is text.
 */
// @runs on ext4
// @runs long on xfs, btrfs
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { AufsEnvironment } from "../../../drivers/aufs/environment.ts";
import { AufsSnapshots } from "../../../drivers/aufs/snapshots.ts";
import { checkAufs } from "../../../drivers/aufs/support.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { mount, MS_BIND, umount } from "../../../ffi/mount.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { Home } from "../../../lib/store/home.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type MountPlan, type MountStep, performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { type MountInfo, parseMountInfo } from "../../../lib/mount/mountinfo.ts";
import type { LayerChain } from "../../../lib/snapshots/backend.ts";
import { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import { mountPoints, must, type TempDir } from "../../support/cases.ts";
import { ABLE, inode, lacking, Recorder, refused, remember, test } from "./support.ts";
import { active, committed, view } from "../../support/layer_chains.ts";
import { names, ownership } from "../../support/files.ts";
import { HalfMounts } from "./half_mounts.ts";
import { assertFails } from "../../support/errors.ts";
import { mountNamespace } from "../../../lib/store/mount_namespace.ts";
import type { LayerUse } from "../../../lib/mount/uses.ts";

function mountedHere(mount: MountInfo): LayerUse {
  return { mount, namespace: mountNamespace(), pid: String(Deno.pid) };
}

/** `MS_RDONLY`, `MS_REMOUNT` and `MS_BIND` of linux/mount.h. */
const RDONLY = 1, REMOUNT = 32, BIND = 4096;

/** The backend at `ROOT/snapshots/aufs`, as if the kernel had aufs. */
function open(root: string, environment: Partial<AufsEnvironment> = {}): AufsSnapshots {
  const home = Home.open(`${root}/snapshots`, "aufs", IDENTITY);
  return new AufsSnapshots(home, IDENTITY, { ...ABLE, ...environment });
}

/** A store whose probes and mounts of aufs are written down. */
function recorded(root: string, environment: Partial<AufsEnvironment> = {}) {
  const recorder = new Recorder(root, true);
  return { recorder, backend: open(root, { port: recorder, ...environment }) };
}

const fs = (backend: AufsSnapshots, layer: string, ...rest: string[]) =>
  backend.home.join("snapshots", layer, "fs", ...rest);

function target(dir: TempDir): string {
  const path = `${Deno.realPathSync(dir.path)}/target`;
  Deno.mkdirSync(path, { recursive: true });
  return path;
}

/** Calls `body` with a root of 24 bytes. */
function withShortRoot(body: (root: string) => void): void {
  const directory = `/run/v${crypto.randomUUID().slice(0, 8)}`;
  Deno.mkdirSync(directory);
  try {
    body(`${directory}/`.padEnd(24, "r"));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** The steps that mount, without what is no data. */
function mountSteps({ steps }: MountPlan, root: string): Partial<MountStep>[] {
  return JSON.parse(
    JSON.stringify(steps.filter(({ kind }) => kind !== "prepare")).replaceAll(root, "$R"),
  );
}

test("snapshots: a layer is one directory, its parent's root again", (dir) => {
  const { backend } = recorded(dir.path);
  backend.prepare(active("base"));
  Deno.chmodSync(fs(backend, "base").text, 0o1711);
  Deno.chownSync(fs(backend, "base").text, 12, 34);
  backend.prepare(active("child", "base"));
  backend.prepare(view("view", "child", "base"));
  assertEquals(backend.home.path, `${Deno.realPathSync(dir.path)}/snapshots/aufs`);
  assertEquals(backend.list(), ["base", "child", "view"]);
  for (const layer of backend.list()) {
    assertEquals(names(backend.home.join("snapshots", layer).text), ["fs"]);
    assertEquals(ownership(fs(backend, layer).text), "1711 12:34");
  }
  assertEquals(backend.home.staged(), []);
  assertEquals(backend.layerFor(), undefined);
});

test("snapshots: mounts, one by one", () => {
  const CASES: [LayerChain, string][] = [
    [
      active("1"),
      '{"type":"bind","source":"$R/snapshots/aufs/snapshots/1/fs","options":["rw","rbind"]}',
    ],
    [
      active("2", "a"),
      '{"type":"aufs","source":"none","options":["br=$R/snapshots/aufs/snapshots/2/fs=rw' +
      ':$R/snapshots/aufs/snapshots/a/fs=ro+wh","dio","xino=/run/tmp/aufs-2.xino","dirperm1"]}',
    ],
    [
      active("3", "c", "b", "a"),
      '{"type":"aufs","source":"none","options":["br=$R/snapshots/aufs/snapshots/3/fs=rw' +
      ":$R/snapshots/aufs/snapshots/c/fs=ro+wh:$R/snapshots/aufs/snapshots/b/fs=ro+wh" +
      ':$R/snapshots/aufs/snapshots/a/fs=ro+wh","dio","xino=/run/tmp/aufs-3.xino","dirperm1"]}',
    ],
    [
      view("4"),
      '{"type":"bind","source":"$R/snapshots/aufs/snapshots/4/fs","options":["ro","rbind"]}',
    ],
    [
      view("5", "a"),
      '{"type":"bind","source":"$R/snapshots/aufs/snapshots/a/fs","options":["ro","rbind"]}',
    ],
    [
      view("6", "c", "b", "a"),
      '{"type":"aufs","source":"none","options":["ro","br=$R/snapshots/aufs/snapshots/c/fs=ro+wh' +
      ":$R/snapshots/aufs/snapshots/b/fs=ro+wh:$R/snapshots/aufs/snapshots/a/fs=ro+wh" +
      '","dio","xino=/run/tmp/aufs-6.xino","dirperm1"]}',
    ],
  ];
  withShortRoot((root) => {
    const { backend } = recorded(root);
    for (const chain of [active("a"), active("b", "a"), active("c", "b", "a")]) {
      backend.prepare(chain);
    }
    for (const [chain, expected] of CASES) {
      backend.prepare(chain);
      assertEquals(JSON.stringify(backend.mounts(chain)).replaceAll(root, "$R"), `[${expected}]`);
    }
  });
});

test("snapshots: plans, call by call", () => {
  const bind = { kind: "mount", target: "$R/at", type: "none", data: "", flags: BIND };
  const readOnly = {
    kind: "append",
    target: "$R/at",
    type: "none",
    data: "",
    flags: REMOUNT | BIND | RDONLY,
  };
  const aufs = {
    kind: "mount",
    source: "none",
    target: "$R/at",
    type: "aufs",
    flags: 0,
    busyRetries: 5,
  };
  const CASES: [LayerChain, Record<string, unknown>[]][] = [
    [active("1"), [{ ...bind, source: "$R/snapshots/aufs/snapshots/1/fs" }]],
    [active("2", "a"), [{
      ...aufs,
      data: "br:$R/snapshots/aufs/snapshots/2/fs=rw:$R/snapshots/aufs/snapshots/a/fs=ro+wh" +
        ",dio,xino=/run/tmp/aufs-2.xino,dirperm1",
    }]],
    [active("3", "c", "b", "a"), [{
      ...aufs,
      data: "br:$R/snapshots/aufs/snapshots/3/fs=rw:$R/snapshots/aufs/snapshots/c/fs=ro+wh" +
        ":$R/snapshots/aufs/snapshots/b/fs=ro+wh:$R/snapshots/aufs/snapshots/a/fs=ro+wh" +
        ",dio,xino=/run/tmp/aufs-3.xino,dirperm1",
    }]],
    [view("4"), [{ ...bind, source: "$R/snapshots/aufs/snapshots/4/fs" }, readOnly]],
    [view("5", "a"), [{ ...bind, source: "$R/snapshots/aufs/snapshots/a/fs" }, readOnly]],
    [view("6", "c", "b", "a"), [{
      ...aufs,
      flags: RDONLY,
      data: "br:$R/snapshots/aufs/snapshots/c/fs=ro+wh:$R/snapshots/aufs/snapshots/b/fs=ro+wh" +
        ":$R/snapshots/aufs/snapshots/a/fs=ro+wh,dio,xino=/run/tmp/aufs-6.xino,dirperm1",
    }]],
  ];
  withShortRoot((root) => {
    const { backend, recorder } = recorded(root);
    const at = `${root}/at`;
    Deno.mkdirSync(at);
    for (const chain of [active("a"), active("b", "a"), active("c", "b", "a")]) {
      backend.prepare(chain);
    }
    for (const [chain, expected] of CASES) {
      backend.prepare(chain);
      const plan = backend.plan(chain, at);
      assertEquals(plan.path, at);
      assertEquals(mountSteps(plan, root), expected, chain.layer);
      if (expected[0].type !== "aufs") continue;
      recorder.calls.length = 0;
      performPlan(plan, recorder);
      undoPlan(plan, recorder, () => {});
      const [{ flags, data }] = expected as { flags: number; data: string }[];
      assertEquals(recorder.calls, [
        { call: "mount", target: "$R/at", flags, data },
        { call: "unmount", target: "$R/at", flags: 0 },
      ]);
    }
    assertEquals(recorder.probe.map(({ call }) => call), ["mount", "unmount"], "one probe");
  });
});

test("snapshots: 400 layers: a plan appends, and others are told to remount", () => {
  const parents = Array.from({ length: 400 }, (_, i) => `${400 - i}`.padStart(3, "0"));
  for (const kind of ["active", "view"] as const) {
    withShortRoot((root) => {
      const { backend, recorder } = recorded(root);
      const at = `${root}/at`, chain = { layer: "top", kind, parents };
      Deno.mkdirSync(at);
      performPlan(backend.plan(chain, at), recorder);
      const [first, ...appends] = recorder.calls;
      const flags = kind === "active" ? 0 : RDONLY;
      assertEquals([first.call, first.flags], ["mount", flags]);
      const end = ",dio,xino=/run/tmp/aufs-top.xino,dirperm1";
      assert(first.data!.startsWith("br:") && first.data!.endsWith(end), first.data);
      const taken = first.data!.slice("br:".length, -end.length).split(":");
      // Each takes 24 + 38 bytes and a colon, the top one 4 less when it is writable; 41 are the options'.
      assertEquals(taken.length, 64);
      const bytes = first.data!.replaceAll("$R", root).length;
      assert(bytes <= 4095 && bytes + 63 > 4095, `${bytes} bytes`);
      for (const call of appends) {
        assertEquals([call.call, call.flags], ["remount", REMOUNT | flags]);
      }
      const branches = [...taken, ...appends.map(({ data }) => data!.replace(/^append:/, ""))];
      const lowers = parents.map((id) => `$R/snapshots/aufs/snapshots/${id}/fs=ro+wh`);
      const own = kind === "active" ? ["$R/snapshots/aufs/snapshots/top/fs=rw"] : [];
      assertEquals(branches, [...own, ...lowers]);

      Deno.mkdirSync(`${root}/snapshots/aufs/snapshots/${parents[0]}/fs`, { recursive: true });
      backend.prepare(chain);
      const [mount, ...remounts] = backend.mounts(chain).map((mount) => ({
        ...mount,
        options: mount.options.map((option) => option.replaceAll(root, "$R")),
      }));
      const access = kind === "active" ? [] : ["ro"];
      // mount(8) may use fsconfig(2), which takes 255 bytes a value: 4 of 62 and colons, the top one 3 less.
      const br = branches.slice(0, 4).join(":");
      assertEquals(br.replaceAll("$R", root).length, kind === "active" ? 248 : 251);
      assertEquals(mount, {
        type: "aufs",
        source: "none",
        options: [
          ...access,
          `br=${br}`,
          "dio",
          "xino=/run/tmp/aufs-top.xino",
          "dirperm1",
        ],
      });
      const rest = branches.slice(4);
      assertEquals(
        remounts.map(({ options }) => options),
        rest.map((branch) => [...access, "remount", `append=${branch}`]),
      );
      assertEquals(remounts.at(-1), {
        type: "aufs",
        source: "none",
        options: [...access, "remount", "append=$R/snapshots/aufs/snapshots/001/fs=ro+wh"],
      });
    });
  }
});

test("snapshots: as many layers as aufs was built for", (dir) => {
  const { backend } = recorded(dir.path, { branchLimit: () => 4 });
  for (const chain of [active("a"), active("b", "a"), active("c", "b", "a")]) {
    backend.prepare(chain);
  }
  backend.prepare(active("d", "c", "b", "a"));
  backend.prepare(view("v", "d", "c", "b", "a"));
  const { message, remedy } = assertFails(
    "limit exceeded",
    () => backend.prepare(active("e", "d", "c", "b", "a")),
  );
  assertEquals(
    message,
    "layer e would lie on 4 layers, and 3 is the most that aufs of this kernel mounts",
  );
  assertEquals(remedy, { kind: "join", of: "snapshots" });
  const deep = view("w", "e", "d", "c", "b", "a");
  assertFails("limit exceeded", () => backend.prepare(deep));
  assertEquals(backend.list(), ["a", "b", "c", "d", "v"]);
});

test("snapshots: a home whose path aufs cannot be given, a layer that is gone", (dir) => {
  const odd = recorded(`${dir.path}/a,b`).backend;
  odd.prepare(active("a"));
  odd.prepare(view("v", "a"));
  assertFails("not supported", () => odd.prepare(active("b", "a")));
  assertEquals(odd.list(), ["a", "v"]);

  const recorder = new Recorder(dir.path, true, ({ call }) => call === "mount");
  const backend = open(dir.path, { port: recorder });
  for (const chain of [active("a"), active("b", "a"), active("c", "b", "a")]) {
    backend.prepare(chain);
  }
  backend.remove("a");
  for (
    const call of [
      () => performPlan(backend.plan(active("c", "b", "a"), target(dir)), recorder),
      () => backend.plan(view("v", "a"), target(dir)),
      () => backend.mounts(view("v", "a")),
      () => backend.prepare(active("n", "a")),
      () => backend.usage(active("a")),
    ]
  ) {
    const { message } = assertFails("corrupt store", call);
    assert(message.startsWith(`${fs(backend, "a")} is missing; remove its snapshot`), message);
  }
  assertEquals([backend.list(), backend.home.staged()], [["b", "c"], []]);
});

test("snapshots: before a mount is taken down, pseudo-links are flushed", (dir) => {
  const at = target(dir), control = `${dir.path}/control`;
  Deno.writeTextFileSync(control, "");
  const written: string[] = [];
  const recorder = new Recorder(dir.path, true, () => {
    written.push(Deno.readTextFileSync(control));
    return false;
  });
  const backend = open(dir.path, {
    port: recorder,
    plinkMaint: control,
    mountAt: (path) => {
      assertEquals(path, at);
      return parseMountInfo(`71 29 0:45 / ${path} rw - aufs none rw,si=5d9b2c0fa1e3,dio`);
    },
  });
  backend.prepare(active("a"));
  const chain = active("b", "a");
  backend.prepare(chain);
  Deno.writeTextFileSync(`${at}/linked`, "");
  remember(fs(backend, "b").text, inode(`${at}/linked`));
  undoPlan(backend.plan(chain, at), recorder, () => {});
  assertEquals(written, ["si=5d9b2c0fa1e3clean"]);
  assertEquals(names(fs(backend, "b", ".wh..wh.plnk").text), []);

  // A view writes nothing, so it has none.
  Deno.writeTextFileSync(control, "");
  undoPlan(backend.plan(view("v", "b", "a"), at), recorder, () => {});
  assertEquals(written, ["si=5d9b2c0fa1e3clean", ""]);
});

test("snapshots: pseudo-links are flushed at a directory of which only the mount is known", (dir) => {
  const at = target(dir), control = `${dir.path}/control`;
  const layer = `${dir.path}/snapshots/aufs/snapshots/b/fs`;
  const sysfs = sysfsOf(dir, { "5d9b2c0fa1e3": [`${layer}=rw`, `${dir.path}/below=ro+wh`] });
  const warnings: string[] = [];
  const backend = open(dir.path, {
    plinkMaint: control,
    sysfs,
    mountAt: (path) => parseMountInfo(`71 29 0:45 / ${path} rw - aufs none rw,si=5d9b2c0fa1e3,dio`),
    warn: (message) => warnings.push(message),
  });
  backend.prepare(active("b"));
  Deno.writeTextFileSync(`${at}/linked`, "");
  const name = remember(layer, inode(`${at}/linked`));
  backend.beforeUnmount(at);
  assertEquals(
    names(`${layer}/.wh..wh.plnk`),
    [name],
    "the maintenance is not to be had",
  );
  assertEquals(warnings.length, 1);

  Deno.writeTextFileSync(control, "");
  backend.beforeUnmount(at);
  assertEquals(Deno.readTextFileSync(control), "si=5d9b2c0fa1e3clean");
  assertEquals(names(`${layer}/.wh..wh.plnk`), []);
});

test("snapshots: a mount that is there is taken down also without aufs in the kernel's list", (dir) => {
  const at = target(dir);
  const { backend, recorder } = recorded(dir.path, {
    checkMountable: () => new VeneerError("not supported", "no aufs; boot another"),
  });
  must("mount", "-t", "tmpfs", "tmpfs", at);
  undoPlan(backend.plan(active("b", "a"), at), recorder, () => {});
  assertEquals(recorder.calls.map(({ call }) => call), ["unmount"]);
  assertEquals(recorder.probe, []);
});

/** A directory that stands for `/sys/fs/aufs`, with branches by the ids of mounts. */
function sysfsOf(dir: TempDir, mounts: Record<string, string[]>): string {
  const sysfs = `${dir.path}/sysfs`;
  for (const [si, branches] of Object.entries(mounts)) {
    Deno.mkdirSync(`${sysfs}/si_${si}`, { recursive: true });
    for (const [i, branch] of branches.entries()) {
      Deno.writeTextFileSync(`${sysfs}/si_${si}/br${i}`, `${branch}\n`);
      Deno.writeTextFileSync(`${sysfs}/si_${si}/brid${i}`, `${i + 64}\n`);
    }
  }
  return sysfs;
}

const aufsAt = (path: string, options: string): MountInfo =>
  parseMountInfo(`71 29 0:45 / ${path} rw,relatime - aufs none rw,${options}`);

test("snapshots: branches of mounts are in use", (dir) => {
  const root = `${Deno.realPathSync(dir.path)}/a root`;
  const mounts: MountInfo[] = [];
  const sysfs = sysfsOf(dir, {});
  const backend = open(root, {
    port: new Recorder(root, true),
    aufsMounts: () => mounts.map(mountedHere),
    sysfs,
  });
  const layers = ["a", "b", "c", "cc", "fs"];
  for (const layer of layers) backend.prepare(active(layer));
  const chain = active("c", "b", "a");
  const inUse = () =>
    layers.filter((layer) => {
      try {
        backend.checkUnused(active(layer));
        return false;
      } catch (error) {
        assert(error instanceof VeneerError && error.code === "in use", `${error}`);
        return true;
      }
    });
  assertEquals(inUse(), []);

  // aufs writes a space as mountinfo does.
  const escaped = root.replaceAll(" ", "\\040");
  const branch = (layer: string, mode: string, at = escaped) =>
    `${at}/snapshots/aufs/snapshots/${layer}/fs=${mode}`;
  sysfsOf(dir, {
    "1f": [branch("c", "rw"), branch("b", "ro+wh"), branch("a", "ro+wh")],
    "2f": ["/elsewhere/snapshots/cc/fs=rw", "/fs=ro+wh"],
  });
  mounts.push(aufsAt("/somewhere", "si=2f,dio"), aufsAt("/mnt", "si=1f,dio,dirperm1"));
  assertEquals(inUse(), ["a", "b", "c"]);
  assertMatch(
    assertFails("in use", () => backend.checkUnused(chain)).message,
    /^layer c is mounted at \/mnt \(mount namespace \d+, .*\); `umount \/mnt` first$/,
  );
  mounts.push(aufsAt("/again", "si=1f,dio"));
  assertMatch(
    assertFails("in use", () => backend.checkUnused(committed("a"))).message,
    /^layer a is mounted at \/mnt \(.*\) and at 1 more;/,
  );

  // The id alone is compared as a whole, and a mount that went meanwhile has no directory.
  mounts.splice(0, mounts.length, aufsAt("/mnt", "si=1"), aufsAt("/mnt", "si=1f0"));
  assertEquals(inUse(), []);

  // Loaded with brs=0, or without sysfs, aufs lists branches in the options.
  mounts.splice(
    0,
    mounts.length,
    aufsAt("/mnt", `si=3f,dio,br:${branch("c", "rw")}:${branch("a", "ro")}`),
  );
  assertEquals(inUse(), ["a", "c"]);

  // By another name of the same directory, or one that is another's of the same end.
  Deno.symlinkSync(root, `${dir.path}/link`);
  const copy = `${dir.path}/copy`;
  must("cp", "-a", root, copy);
  sysfsOf(dir, { "4f": [branch("b", "rw", copy), branch("a", "ro+wh", `${dir.path}/link`)] });
  mounts.splice(0, mounts.length, aufsAt("/mnt", "si=4f"));
  assertEquals(inUse(), ["a"]);
});

test("snapshots: a mount of which nobody says what it is made of", (dir) => {
  const mounts: MountInfo[] = [];
  const backend = open(dir.path, {
    aufsMounts: () => mounts.map(mountedHere),
    sysfs: `${dir.path}/sysfs`,
  });
  backend.prepare(active("a"));
  backend.checkUnused(active("a"));
  mounts.push(aufsAt("/mnt", "si=1f"));
  assertEquals(
    assertFails("failed precondition", () => backend.checkUnused(active("a"))).message,
    `the layers mounted at /mnt are listed in ${dir.path}/sysfs, which does not exist; mount sysfs at /sys`,
  );
});

test("snapshots: a view is in use where a mount shows its parent above all and writes to none", (dir) => {
  const root = Deno.realPathSync(dir.path);
  const mounts: MountInfo[] = [];
  const backend = open(root, {
    aufsMounts: () => mounts.map(mountedHere),
    sysfs: sysfsOf(dir, {}),
  });
  for (const layer of ["a", "b", "c", "v", "one"]) backend.prepare(active(layer));
  const chain = view("v", "c", "b", "a"), branch = (layer: string) => fs(backend, layer).text;
  const use = (...branches: string[]) => {
    sysfsOf(dir, { "1f": branches });
    mounts.splice(0, mounts.length, aufsAt("/mnt", "si=1f,dio"));
  };
  use(`${branch("c")}=ro+wh`, `${branch("b")}=ro+wh`);
  assertMatch(
    assertFails("in use", () => backend.checkUnused(chain)).message,
    /^a view on its parent is mounted at \/mnt \(/,
  );
  const asked: (boolean | undefined)[] = [];
  backend.checkUnused(chain, (_use, isShared) => asked.push(isShared) > 0);
  assertEquals(asked, [true], "it may be another view's");
  backend.checkUnused(view("v", "b", "a"));
  use(`${branch("c")}=rw`, `${branch("b")}=ro+wh`);
  backend.checkUnused(chain);
  use(`${branch("v")}=ro+wh`, `${branch("c")}=ro+wh`);
  assertFails("in use", () => backend.checkUnused(chain));

  // A view of one layer is that layer's directory, bound.
  mounts.length = 0;
  const at = target(dir);
  backend.checkUnused(view("one", "a"));
  mount({ source: branch("a"), target: at, flags: MS_BIND });
  assertFails("in use", () => backend.checkUnused(view("one", "a")));
  umount(at);
});

test("snapshots: what a killed mount made is taken down, and made whole by the next", (dir) => {
  const root = `${Deno.realPathSync(dir.path)}/root`;
  using store = new HalfMounts(root);
  const { snapshots } = store;
  // More layers than one call takes, so that remounts add to it.
  const count = 85;
  for (let i = 0; i < count; i++) {
    snapshots.prepare("key", i === 0 ? "" : `${i - 1}`);
    snapshots.commit(`${i}`, "key");
  }
  snapshots.prepare("active", `${count - 1}`);
  snapshots.view("look", `${count - 1}`);
  for (const [key, branches] of [["active", count + 1], ["look", count]] as const) {
    const { signal, stderr } = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--allow-all",
        "--no-check",
        new URL("half_mounts.ts", import.meta.url).pathname,
        root,
        key,
      ],
    }).outputSync();
    assertEquals(signal, "SIGKILL", new TextDecoder().decode(stderr));
    const half = mountPoints(`${snapshots.home}/mounts`);
    assertEquals(half.length, 1, "it left a mount");
    store.branches.length = 0;
    const path = snapshots.mount(key);
    assertEquals(store.branches.length, branches);
    assertEquals(mountPoints(`${snapshots.home}/mounts`), [path]);
    assertEquals(path, half[0]);
    snapshots.unmount(key);
    Deno.removeSync(`${root}/sysfs`, { recursive: true });
  }
});

test("snapshots: a layer that is bound somewhere is in use", (dir) => {
  const at = target(dir), backend = open(dir.path);
  for (const layer of ["a", "b"]) backend.prepare(active(layer));
  mount({ source: fs(backend, "a").text, target: at, flags: MS_BIND });
  assertFails("in use", () => backend.checkUnused(active("a")));
  backend.seal(active("a"));
  umount(at);
  backend.seal(active("a"));
});

test("snapshots: usage leaves out what is aufs's own", (dir) => {
  const { backend } = recorded(dir.path);
  backend.prepare(active("a"));
  const chain = active("b", "a");
  backend.prepare(chain);
  const at = (...path: string[]) => fs(backend, "b", ...path);
  // What a mount for writing makes.
  Deno.writeTextFileSync(at(".wh..wh.aufs").text, "");
  for (const name of [".wh..wh.plnk", ".wh..wh.orph"]) Deno.mkdirSync(at(name).text);
  Deno.writeFileSync(at(".wh..wh.orph", "left").text, new Uint8Array(1 << 20));
  assertEquals(backend.usage(chain), { bytes: 0, inodes: 0 });
  Deno.mkdirSync(at("dir").text);
  // Whiteouts are links to one file.
  for (const name of [".wh.gone", "dir/.wh.too", "dir/.wh..wh..opq"]) {
    Deno.linkSync(at(".wh..wh.aufs").text, at(name).text);
  }
  Deno.writeFileSync(at("dir/file").text, new Uint8Array(100_000));
  Deno.linkSync(at("dir/file").text, at(".wh..wh.plnk/1.2").text);
  must("sync", "-f", at("dir/file").text);
  const { bytes, inodes } = backend.usage(chain);
  assertEquals(inodes, 3, "dir, its file, one for all whiteouts");
  assert(bytes >= 100_000 && bytes < 200_000, `${bytes}`);
});

test("snapshots: a probe that a killed process left goes with the next opening", (dir) => {
  const { backend, recorder } = recorded(dir.path);
  const probe = backend.home.staging(".probe-left");
  Deno.mkdirSync(`${probe}/merged`, { recursive: true });
  must("mount", "-t", "tmpfs", "tmpfs", `${probe}/merged`);
  assertEquals(open(dir.path).home.staged(), []);
  assertEquals([mountPoints(dir.path), recorder.calls], [[], []]);
});

/** A store with `base`, `app` on it, and active ones on each, made as on a kernel with aufs. */
function filledStore(root: string): void {
  const { backend } = recorded(root);
  const snapshots = new Snapshots({ backend, port: ABLE.port, warn: ABLE.warn });
  const fill = (key: string) =>
    Deno.writeTextFileSync(fs(backend, snapshots.stat(key).layer, `file-${key}`).text, key);
  snapshots.prepare("1", "");
  fill("1");
  snapshots.commit("base", "1");
  snapshots.prepare("2", "base");
  fill("2");
  snapshots.commit("app", "2");
  snapshots.prepare("work", "app");
  fill("work");
  snapshots.prepare("other", "app");
  snapshots.close();
}

const openStore = (root: string, driver = "aufs"): Snapshots =>
  openSnapshotter({ root, driver, options: [], idMaps: IDENTITY, warn: ABLE.warn });

// What a kernel without aufs does is shown on this one, where it lacks it.
const onlyWithout = refused ?? (lacking === undefined ? "the kernel has aufs" : undefined);

test("snapshots: without aufs no store is made", (dir) => {
  const { message } = assertFails("not supported", () => openStore(`${dir.path}/root`));
  assertMatch(message, /^the kernel has no aufs file system, and `modprobe aufs` does not load/);
  assert(!message.includes("\n"));
  assertEquals(message, checkAufs()?.message);
  assertEquals(names(dir.path), []);
}, onlyWithout);

test(
  "snapshots: without aufs, a store that is there opens, and all but joining layers works",
  (dir) => {
    const root = `${dir.path}/root`;
    filledStore(root);
    const snapshots = openStore(root, "auto");
    try {
      assertEquals(snapshots.name, "aufs");
      assertEquals([...snapshots.walk()].map(({ name, parent }) => [name, parent]), [
        ["app", "base"],
        ["base", ""],
        ["other", "app"],
        ["work", "app"],
      ]);
      assertEquals(snapshots.usage("app").inodes, 1);
      assertEquals(snapshots.usage("other"), { bytes: 0, inodes: 0 });
      snapshots.update({ name: "app", labels: new Map([["team", "blue"]]) });
      assertEquals(snapshots.stat("app").labels.get("team"), "blue");
      snapshots.commit("more", "work");
      snapshots.remove("other");
      assertEquals(snapshots.prepare("new", "")[0].type, "bind");
      assertEquals(snapshots.view("look", "base")[0].type, "bind");
      performPlanOnce(snapshots.plan("new", target(dir)));
      snapshots.commit("another", "new", { parent: "base" });

      const before = [...snapshots.walk()], layers = names(`${snapshots.home}/snapshots`);
      for (
        const call of [
          () => snapshots.prepare("x", "base"),
          () => snapshots.prepare("x", "more"),
          () => snapshots.view("x", "app"),
        ]
      ) {
        assertMatch(
          assertFails("not supported", call).message,
          /^layer [a-z2-7]{8} cannot be mounted: the kernel has no aufs file system, and `modprobe aufs` does not load one; snapshots can still be listed, measured, labelled, committed and removed$/,
        );
      }
      assertEquals([...snapshots.walk()], before);
      assertEquals(names(`${snapshots.home}/snapshots`), layers);
      for (const key of ["look", "more", "app", "another", "base"]) snapshots.remove(key);
      snapshots.cleanup();
      assertEquals(names(`${snapshots.home}/snapshots`), []);
    } finally {
      snapshots.close();
    }
  },
  onlyWithout,
);

test("snapshots: without aufs, an active one is neither mounted nor told how", (dir) => {
  const root = `${dir.path}/root`;
  filledStore(root);
  const snapshots = openStore(root);
  try {
    for (
      const call of [() => snapshots.mounts("work"), () => snapshots.plan("work", target(dir))]
    ) assertFails("not supported", call);
  } finally {
    snapshots.close();
  }
}, onlyWithout);

function performPlanOnce(plan: MountPlan): void {
  performPlan(plan, ABLE.port);
  undoPlan(plan, ABLE.port, (at) => {
    throw new Error(`${at} is busy`);
  });
}
