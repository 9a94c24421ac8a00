/** overlay2's snapshots: their directories, the very mounts, what is mounted, what is left. */
// @runs on ext4, xfs, guest ext4
// @runs long on btrfs, guest xfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { mount, MS_BIND, MS_RDONLY, umount } from "../../../ffi/mount.ts";
import { lgetxattr, lsetxattr } from "../../../ffi/xattr.ts";
import { mountFeatures } from "../../../drivers/overlay2/kernel.ts";
import * as overlay2 from "../../../drivers/overlay2/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type Mount, type MountPlan, performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { readMountInfo } from "../../../lib/mount/mountinfo.ts";
import type { LayerChain, SnapshotBackend } from "../../../lib/snapshots/backend.ts";
import { mountPoints, must } from "../../support/cases.ts";
import { active, committed, view } from "../../support/layer_chains.ts";
import { apiOption, APIS, test } from "./support.ts";
import { makeNode } from "../../support/tree_entries.ts";
import { names, ownership, read } from "../../support/files.ts";
import { MAPPED } from "../../support/id_maps.ts";
import { assertFails } from "../../support/errors.ts";

function open(
  root: string,
  options: Record<string, string> = {},
  idMaps = IDENTITY,
): SnapshotBackend {
  const all = new Map(Object.entries({ "overlay2.allow_btrfs": "true", ...options }));
  return overlay2.openSnapshots({ root, options: all, idMaps, warn: () => {} });
}

const fs = (backend: SnapshotBackend, layer: string, ...rest: string[]) =>
  backend.home.join("snapshots", layer, "fs", ...rest);

/** Committed layers, each on the one before and with a file of its own; the chain of the last. */
function commitChain(backend: SnapshotBackend, ...layers: string[]): LayerChain {
  layers.forEach((layer, i) => {
    const chain = active(layer, ...layers.slice(0, i).reverse());
    backend.prepare(chain);
    Deno.writeTextFileSync(fs(backend, layer, `file-${layer}`).text, layer);
    backend.seal(chain);
  });
  const [layer, ...parents] = layers.toReversed();
  return committed(layer, ...parents);
}

function withPlan(plan: MountPlan, use: () => void): void {
  performPlan(plan, kernelMountPort);
  try {
    use();
  } finally {
    undoPlan(plan, kernelMountPort, (target, error) => {
      throw new Error(`${target} is busy`, { cause: error });
    });
  }
}

/** Mounts a triple as a client does. */
function mountTriple({ type, source, options }: Mount, target: string): void {
  if (type === "bind") mount({ source, target, flags: MS_BIND });
  else mount({ source, target, type, data: options.join(",") });
}

function makeTarget(dir: { path: string }, name = "target"): string {
  const target = join(Deno.realPathSync(dir.path), name);
  Deno.mkdirSync(target);
  return target;
}

test("snapshots: a layer's directories are containerd's, whatever the umask", (dir) => {
  const backend = open(dir.path);
  const before = Deno.umask(0o077);
  try {
    backend.prepare(active("base"));
    backend.prepare(active("child", "base"));
    backend.prepare(view("view", "base"));
  } finally {
    Deno.umask(before);
  }
  assertEquals(backend.home.path, join(Deno.realPathSync(dir.path), "snapshots/overlay2"));
  assertEquals(names(backend.home.path), [".veneer", "snapshots"]);
  assertEquals(names(backend.home.join("snapshots").text), ["base", "child", "view"]);
  assertEquals(names(backend.home.join("snapshots/base").text), ["fs"]);
  assertEquals(names(backend.home.join("snapshots/child").text), ["fs", "work"]);
  assertEquals(names(backend.home.join("snapshots/view").text), ["fs"]);
  assertEquals(backend.home.staged(), []);
  assertEquals(ownership(backend.home.join("snapshots").text), "700 0:0");
  assertEquals(ownership(backend.home.join("snapshots/child").text), "700 0:0");
  assertEquals(ownership(fs(backend, "child").text), "755 0:0");
  assertEquals(ownership(backend.home.join("snapshots/child/work").text), "700 0:0");
  assertEquals(backend.list(), ["base", "child", "view"]);
  assertEquals(open(dir.path).list(), ["base", "child", "view"]);
  assertEquals(backend.layerFor("active", "key"), undefined);
  assertEquals(backend.layerFor("committed", "name"), undefined);
});

test("snapshots: container root owns a base layer", (dir) => {
  const backend = open(dir.path, {}, MAPPED);
  backend.prepare(active("base"));
  backend.prepare(active("child", "base"));
  assertEquals(ownership(fs(backend, "base").text), "755 100000:200000");
  assertEquals(ownership(fs(backend, "child").text), "755 100000:200000");
  assertEquals(ownership(backend.home.join("snapshots/child/work").text), "700 100000:200000");
});

test("snapshots: RootPermission, DirectoryPermissionOnCommit: a root begins as its parent's is", (dir) => {
  const backend = open(dir.path), target = makeTarget(dir);
  backend.prepare(active("base"));
  withPlan(backend.plan(active("base"), target), () => {
    assertEquals(ownership(target), "755 0:0");
    Deno.chmodSync(target, 0o1711);
    Deno.chownSync(target, 12, 34);
    lsetxattr(target, "trusted.kept", new Uint8Array([1]));
    Deno.mkdirSync(`${target}/dir`);
    Deno.chownSync(`${target}/dir`, 1, 2);
  });
  backend.prepare(active("child", "base"));
  withPlan(backend.plan(active("child", "base"), target), () => {
    assertEquals(ownership(target), "1711 12:34");
    assertEquals(lgetxattr(target, "trusted.kept"), new Uint8Array([1]));
    assertEquals(ownership(`${target}/dir`), "755 1:2");
    Deno.chmodSync(`${target}/dir`, 0o700);
  });
  withPlan(backend.plan(view("view", "child", "base"), target), () => {
    assertEquals(ownership(target), "1711 12:34");
    assertEquals(ownership(`${target}/dir`), "700 1:2");
  });
});

test("snapshots: mounts, one by one", (dir) => {
  const backend = open(dir.path);
  commitChain(backend, "a", "b", "c");
  const at = `${Deno.realPathSync(dir.path)}/snapshots/overlay2/snapshots`;
  const features = mountFeatures([]);
  const CASES: [LayerChain, Mount][] = [
    [active("1"), { type: "bind", source: `${at}/1/fs`, options: ["rw", "rbind"] }],
    [active("2", "a"), {
      type: "overlay",
      source: "overlay",
      options: [
        `workdir=${at}/2/work`,
        `upperdir=${at}/2/fs`,
        `lowerdir=${at}/a/fs`,
        ...features,
      ],
    }],
    [active("3", "c", "b", "a"), {
      type: "overlay",
      source: "overlay",
      options: [
        `workdir=${at}/3/work`,
        `upperdir=${at}/3/fs`,
        `lowerdir=${at}/c/fs:${at}/b/fs:${at}/a/fs`,
        ...features,
      ],
    }],
    [view("4"), { type: "bind", source: `${at}/4/fs`, options: ["ro", "rbind"] }],
    [view("5", "a"), { type: "bind", source: `${at}/a/fs`, options: ["ro", "rbind"] }],
    [view("6", "b", "a"), {
      type: "overlay",
      source: "overlay",
      options: [`lowerdir=${at}/b/fs:${at}/a/fs`, ...features],
    }],
  ];
  for (const [chain, expected] of CASES) {
    backend.prepare(chain);
    assertEquals(backend.mounts(chain), [expected]);
  }
});

test("snapshots: names are escaped in triples, and these mount", (dir) => {
  const backend = open(`${dir.path}/a,b:c\\d e`), target = makeTarget(dir);
  commitChain(backend, "a", "b");
  const chain = active("top", "b", "a");
  backend.prepare(chain);
  const at = `${Deno.realPathSync(dir.path)}/a\\,b\\:c\\\\d e/snapshots/overlay2/snapshots`;
  const [triple] = backend.mounts(chain);
  assertEquals(triple.options.slice(0, 3), [
    `workdir=${at}/top/work`,
    `upperdir=${at}/top/fs`,
    `lowerdir=${at}/b/fs:${at}/a/fs`,
  ]);
  mountTriple(triple, target);
  try {
    Deno.writeTextFileSync(`${target}/new`, "");
    assertEquals(names(target), ["file-a", "file-b", "new"]);
    assertFails("in use", () => backend.checkUnused(chain));
  } finally {
    umount(target);
  }
  backend.seal(chain);
  assertEquals(names(fs(backend, "top").text), ["new"]);
});

test("snapshots: what a kernel wants of every mount is in every overlay", (dir) => {
  const backend = open(dir.path, { "overlay2.mountopt": "userxattr,redirect_dir=nofollow" });
  commitChain(backend, "a", "b");
  for (const chain of [active("1", "a"), view("2", "b", "a")]) {
    backend.prepare(chain);
    const [{ options }] = backend.mounts(chain);
    assertEquals(
      options.filter((option) => !option.includes("dir=/")),
      ["userxattr", "redirect_dir=nofollow", ...mountFeatures([])],
    );
  }
  assertEquals(backend.status()[2], ["userxattr", "true"]);
});

for (const [api, lacks] of APIS) {
  test(`snapshots: TestOverlayConfiguredIndexNotOverridden, by the ${api} calls`, (dir) => {
    const options = { ...apiOption(api), "overlay2.mountopt": "index=on" };
    const backend = open(dir.path, options), target = makeTarget(dir);
    commitChain(backend, "a");
    const chain = active("b", "a");
    backend.prepare(chain);
    const [triple] = backend.mounts(chain);
    assertEquals(triple.options.filter((option) => option.startsWith("index")), ["index=on"]);
    withPlan(backend.plan(chain, target), () => {
      Deno.writeTextFileSync(`${target}/file-a`, "changed");
      const info = readMountInfo().find(({ mountPoint }) => mountPoint === target)!;
      assert(info.superOptions.split(",").includes("index=on"), info.superOptions);
    });
    assertEquals(read(fs(backend, "b", "file-a").text), "changed");
  }, lacks);

  for (const name of ["plain", "a,b:c\\d e", `${"long".repeat(50)}/${"longer".repeat(40)}`]) {
    test(`snapshots: plans mount by the ${api} calls, in a home ${name.slice(0, 12)}`, (dir) => {
      const backend = open(`${dir.path}/${name}`, apiOption(api)), target = makeTarget(dir);
      commitChain(backend, "a", "b");
      const CASES: [LayerChain, string[], writable: boolean][] = [
        [active("1"), [], true],
        [active("2", "a"), ["file-a"], true],
        [active("3", "b", "a"), ["file-a", "file-b"], true],
        [view("4"), [], false],
        [view("5", "a"), ["file-a"], false],
        [view("6", "b", "a"), ["file-a", "file-b"], false],
      ];
      for (const [chain, shown, writable] of CASES) {
        backend.prepare(chain);
        const plan = backend.plan(chain, target);
        assertEquals(plan.path, target);
        withPlan(plan, () => {
          assertEquals(names(target), shown);
          const { options } = readMountInfo().find(({ mountPoint }) => mountPoint === target)!;
          assertEquals(options.includes("ro"), !writable);
          const write = () => Deno.writeTextFileSync(`${target}/new`, "new");
          if (writable) write();
          else assertThrows(write, Error, "os error 30"); // EROFS
        });
        assertEquals(names(fs(backend, chain.layer).text), writable ? ["new"] : []);
      }
      assertEquals(names(fs(backend, "a").text), ["file-a"]);
      assertEquals(mountPoints(dir.path), []);
    }, lacks);
  }

  const most = api === "new" ? 500 : 128;
  test(
    `snapshots: ${most} layers below one are mounted by the ${api} calls, and no more are prepared`,
    (dir) => {
      const backend = open(dir.path, apiOption(api)), target = makeTarget(dir);
      const parents = Array.from({ length: most }, (_, i) => `l${String(i).padStart(7, "0")}`);
      commitChain(backend, ...parents);
      parents.reverse();
      for (const kind of ["active", "view"] as const) {
        const chain = { layer: `most-${kind}`, kind, parents };
        backend.prepare(chain);
        withPlan(backend.plan(chain, target), () => assertEquals(names(target).length, most));
        assertEquals(backend.mounts(chain).length, 1);
        const before = backend.list();
        const error = assertFails(
          "limit exceeded",
          () => backend.prepare({ layer: "more", kind, parents: [chain.layer, ...parents] }),
        );
        assertEquals(
          error.message,
          `layer more would lie on ${
            most + 1
          } layers, and ${most} is the most that can be mounted` +
            (api === "old" ? "; run Linux 6.7 or later, which takes 500" : ""),
        );
        assertEquals(error.remedy, { kind: "join", of: "snapshots" });
        assertEquals([backend.list(), backend.home.staged()], [before, []]);
      }
    },
    lacks,
  );
}

test("snapshots: a triple is as long as it is", (dir) => {
  const backend = open(dir.path);
  const parents = Array.from({ length: 400 }, (_, i) => `layer${i}`);
  const [{ options }] = backend.mounts(active("top", ...parents));
  assertEquals(options[2].split(":").length, 400);
});

test("snapshots: usage is what lies in the layer, each inode once, holes not", (dir) => {
  const backend = open(dir.path);
  commitChain(backend, "a");
  const chain = active("b", "a");
  backend.prepare(chain);
  assertEquals(backend.usage(chain), { bytes: 0, inodes: 0 });
  const at = (name: string) => fs(backend, "b", name);
  Deno.writeFileSync(at("file").text, new Uint8Array(100_000));
  Deno.linkSync(at("file").text, at("link").text);
  Deno.mkdirSync(at("dir/sub").text, { recursive: true });
  Deno.linkSync(at("file").text, at("dir/sub/link").text);
  Deno.symlinkSync("nowhere", at("dir/symlink").text);
  Deno.mkdirSync(at("many").text);
  for (let i = 0; i < 2000; i++) Deno.writeTextFileSync(at(`many/${i}`).text, "");
  makeNode(at("whiteout").text, 0o020000);
  Deno.linkSync(at("whiteout").text, at("dir/whiteout").text);
  Deno.writeTextFileSync(at("sparse").text, "");
  Deno.truncateSync(at("sparse").text, 1 << 30);
  must("sync", "-f", at("file").text);

  const { bytes, inodes } = backend.usage(chain);
  // file, dir, dir/sub, dir/symlink, many, 2000 files, whiteout, sparse.
  assertEquals(inodes, 5 + 2000 + 2);
  assert(bytes >= 100_000 && bytes < 1 << 20, String(bytes));
  const du = (...args: string[]) =>
    Number(/^\d+/.exec(must("du", "-s", ...args, fs(backend, "b").text))![0]);
  const ownBytes = Number(must("stat", "-c", "%b", fs(backend, "b").text)) * 512;
  assertEquals([bytes, inodes], [du("--block-size=1") - ownBytes, du("--inodes") - 1]);
  assertEquals(backend.usage(active("a")).inodes, 1);
});

test("snapshots: usage of a tree deeper than there are descriptors", (dir) => {
  const backend = open(dir.path);
  backend.prepare(active("a"));
  let path = fs(backend, "a").text;
  for (let i = 0; i < 300; i++) Deno.mkdirSync(path += "/d");
  assertEquals(backend.usage(active("a")).inodes, 300);
});

for (const [api, lacks] of APIS) {
  test(`snapshots: what is mounted by the ${api} calls is in use`, (dir) => {
    for (const name of ["plain", "a,b:c\\d e=f", "long".repeat(60)]) {
      const backend = open(`${dir.path}/${name}`, apiOption(api));
      const target = makeTarget(dir, `a place for ${name.slice(0, 8)}`);
      const base = commitChain(backend, "a", "b"), chain = active("c", "b", "a");
      backend.prepare(chain);
      // Those whose ids are part of another's, or begin with it, are other layers.
      for (const other of ["cc", "bc", "c-1", "fs"]) backend.prepare(active(other));
      withPlan(backend.plan(chain, target), () => {
        const { message } = assertFails("in use", () => backend.checkUnused(chain));
        assert(message.startsWith(`layer c is mounted at ${target} (mount namespace `), message);
        assert(message.endsWith(`); \`umount ${target}\` first`), message);
        backend.seal(chain); // Who may commit what is mounted is not this to say.
        for (const below of [base, committed("a")]) {
          assertFails("in use", () => backend.checkUnused(below));
        }
        for (const other of ["cc", "bc", "c-1", "fs"]) backend.checkUnused(active(other));
      });
      for (const layer of [chain, base, committed("a")]) backend.checkUnused(layer);
      backend.seal(chain);
    }
  }, lacks);
}

test("snapshots: mounts that others make are seen, however they name the layer", (dir) => {
  const root = Deno.realPathSync(dir.path);
  const backend = open(root), target = makeTarget(dir), second = makeTarget(dir, "second");
  commitChain(backend, "a");
  // The end of a name is another layer's whole name.
  const base = active("base"), chain = active("bb", "a"), other = active("b");
  for (const each of [base, chain, other]) backend.prepare(each);
  Deno.mkdirSync(fs(backend, "base", "sub").text);
  Deno.symlinkSync(root, `${root}/name`);
  const overlay = (prefix: string) =>
    `lowerdir=${prefix}a/fs,upperdir=${prefix}bb/fs,workdir=${prefix}bb/work`;
  const step = { source: "overlay", type: "overlay", flags: 0, target };
  const CASES: [string, LayerChain, () => void][] = [
    ["a triple", chain, () => mountTriple(backend.mounts(chain)[0], target)],
    ["a triple of a bind", base, () => mountTriple(backend.mounts(base)[0], target)],
    [
      "a bind of a part",
      base,
      () => mount({ source: fs(backend, "base", "sub").text, target, flags: MS_BIND }),
    ],
    [
      "a bind, read-only",
      base,
      () => mount({ source: fs(backend, "base").text, target, flags: MS_BIND | MS_RDONLY }),
    ],
    ["from the layers' directory", chain, () =>
      kernelMountPort.mount({
        ...step,
        kind: "mount",
        data: overlay(""),
        from: backend.home.join("snapshots").text,
      })],
    ["from the home", chain, () =>
      kernelMountPort.mount({
        ...step,
        kind: "mount",
        data: overlay("snapshots/"),
        from: backend.home.path,
      })],
    [
      "through a symbolic link",
      chain,
      () => mount({ ...step, data: overlay(`${root}/name/snapshots/overlay2/snapshots/`) }),
    ],
  ];
  for (const [what, used, make] of CASES) {
    backend.checkUnused(used);
    make();
    try {
      const { message } = assertFails("in use", () => backend.checkUnused(used));
      assertMatch(message, /mounted at .*target \(/);
      for (const each of [other, used === base ? chain : base]) backend.checkUnused(each);
    } catch (error) {
      throw new Error(what, { cause: error });
    } finally {
      umount(target);
    }
  }

  mountTriple(backend.mounts(base)[0], target);
  mountTriple(backend.mounts(base)[0], second);
  const { message } = assertFails("in use", () => backend.checkUnused(base));
  assert(message.startsWith(`layer base is mounted at ${target} (mount namespace `), message);
  assert(message.endsWith(`) and at 1 more; \`umount ${target}\` first`), message);
});

test("snapshots: mounts of a copy of the store are not this store's", (dir) => {
  const backend = open(`${dir.path}/one`), target = makeTarget(dir);
  commitChain(backend, "a");
  const chain = active("b", "a"), base = active("base");
  for (const each of [base, chain]) backend.prepare(each);
  must("cp", "-a", `${dir.path}/one`, `${dir.path}/two`);
  const copy = open(`${dir.path}/two`);
  for (const each of [base, chain]) {
    mountTriple(copy.mounts(each)[0], target);
    assertFails("in use", () => copy.checkUnused(each));
    for (const own of [base, chain, committed("a")]) backend.checkUnused(own);
    umount(target);
  }
});

test("snapshots: a layer with a mount in it is not deleted, and is afterwards", (dir) => {
  const backend = open(dir.path), elsewhere = makeTarget(dir);
  Deno.writeTextFileSync(`${elsewhere}/kept`, "");
  for (const point of ["", "/fs", "/fs/sub"]) {
    backend.prepare(active("a"));
    Deno.mkdirSync(fs(backend, "a", "sub").text);
    Deno.writeTextFileSync(fs(backend, "a", "sub", "file").text, "");
    const target = backend.home.join("snapshots/a") + point;
    mount({ source: elsewhere, target, flags: MS_BIND });
    const { message } = assertFails("in use", () => backend.remove("a"));
    assertMatch(message, /is a mount point; unmount it first$/);
    assertEquals(backend.list(), ["a"]);
    for (const mounted of mountPoints(backend.home.path)) umount(mounted);
    backend.remove("a");
    assertEquals(backend.list(), []);
    assertEquals(names(elsewhere), ["kept"]);
  }
});

test("snapshots: whatever there is of a layer is removed", (dir) => {
  const backend = open(dir.path);
  const place = backend.home.join("snapshots/x"), staged = backend.home.staging("x");
  const make = (...paths: string[]) =>
    paths.forEach((path) => Deno.mkdirSync(path, { recursive: true }));
  const CASES: Record<string, () => void> = {
    "nothing": () => {},
    "a layer": () => backend.prepare(active("x")),
    "a layer being made": () => make(staged.text),
    "a layer being made, its fs": () => make(`${staged}/fs`),
    "a layer made but for its place": () => make(`${staged}/fs/full`, `${staged}/work/work`),
    "a layer without fs": () => make(`${place}/work`),
    "an empty layer": () => make(place.text),
    "a layer, and what another's removal left": () => make(`${place}/fs`, `${staged}/fs/left`),
    "a file": () => Deno.writeTextFileSync(place.text, ""),
  };
  backend.prepare(active("other"));
  for (const [what, prepare] of Object.entries(CASES)) {
    prepare();
    assertEquals(backend.list(), what === "nothing" ? ["other"] : ["other", "x"], what);
    backend.remove("x");
    assertEquals([backend.list(), backend.home.staged()], [["other"], []], what);
    backend.remove("x");
  }
});

test("snapshots: what a power failure left under a layer's id goes when it is made", (dir) => {
  const backend = open(dir.path);
  for (const path of [backend.home.join("snapshots/x"), backend.home.staging("x")]) {
    Deno.mkdirSync(`${path}/fs/left`, { recursive: true });
    Deno.writeTextFileSync(`${path}/left`, "");
  }
  backend.prepare(active("x"));
  assertEquals([backend.list(), backend.home.staged()], [["x"], []]);
  assertEquals(names(backend.home.join("snapshots/x").text), ["fs"]);
  assertEquals(names(fs(backend, "x").text), []);
});

test("snapshots: a parent's work directory goes with its first child, not before", (dir) => {
  const backend = open(dir.path), target = makeTarget(dir);
  commitChain(backend, "a");
  const chain = active("b", "a");
  backend.prepare(chain);
  withPlan(backend.plan(chain, target), () => Deno.removeSync(`${target}/file-a`));
  backend.seal(chain);
  // Until the commit is recorded the layer is active, and is mounted again.
  withPlan(backend.plan(chain, target), () => assertEquals(names(target), []));
  backend.seal(chain);
  assertEquals(names(backend.home.join("snapshots/b").text), ["fs", "work"]);
  backend.prepare(active("c", "b", "a"));
  assertEquals(names(backend.home.join("snapshots/b").text), ["fs"]);
  backend.prepare(view("d", "b", "a"));

  // What a crash left there is in nobody's way.
  const work = backend.home.join("snapshots/c/work");
  Deno.mkdirSync(`${work}/work/left`, { recursive: true });
  backend.prepare(active("e", "c", "b", "a"));
  assertEquals(names(`${work}/work`), ["left"]);
  backend.remove("c");
});

test("snapshots: a layer that is gone is named", (dir) => {
  const backend = open(dir.path), target = makeTarget(dir);
  commitChain(backend, "a", "b");
  const chain = active("c", "b", "a");
  backend.prepare(chain);
  backend.remove("a");
  const gone = (call: () => void, layer: string) =>
    assertEquals(
      assertFails("corrupt store", call).message,
      `${fs(backend, layer)} is missing; remove its snapshot and those on it, ` +
        "and prepare them again",
    );
  gone(() => withPlan(backend.plan(chain, target), () => {}), "a");
  gone(() => backend.plan(view("v", "a"), target), "a");
  gone(() => backend.mounts(view("v", "a")), "a");
  gone(() => backend.mounts(active("n")), "n");
  gone(() => backend.usage(active("n")), "n");
  gone(() => backend.prepare(active("n", "a")), "a");
  assertEquals([backend.list(), backend.home.staged()], [["b", "c"], []]);
  assertEquals(mountPoints(dir.path), []);
});

test("snapshots: a missing directory for the kernel's work is named", (dir) => {
  const backend = open(dir.path), target = makeTarget(dir);
  commitChain(backend, "a");
  const chain = active("b", "a");
  backend.prepare(chain);
  const work = backend.home.join("snapshots/b/work").text;
  Deno.removeSync(work);
  assertEquals(
    assertFails("corrupt store", () => withPlan(backend.plan(chain, target), () => {})).message,
    `${work} is missing; make an empty directory of the layer's root`,
  );
  Deno.mkdirSync(work, { mode: 0o700 });
  withPlan(backend.plan(chain, target), () => assertEquals(names(target), ["file-a"]));
});

test("snapshots: limits, which only layers of a graph have, are refused before anything is made", (dir) => {
  for (const option of ["overlay2.size", "overlay2.inodes"]) {
    const error = assertFails("not supported", () => open(dir.path, { [option]: "1000" }));
    assertMatch(error.message, / limit layers; snapshots have snapshot.size and snapshot.inodes$/);
  }
  open(dir.path, { "overlay2.size": "0" });
});
