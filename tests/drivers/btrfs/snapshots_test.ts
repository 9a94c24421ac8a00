/** Snapshots on btrfs: what lies on disk, what an open file still changes, how layers are mounted and go. */
// @runs on btrfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { disableQuota, qgroups, quotaStatus, tryEnableQuota } from "../../../ffi/btrfs_quota.ts";
import { isReadOnly, setReadOnly, subvolumeInfo } from "../../../ffi/btrfs_subvolume.ts";
import { commit } from "../../../ffi/btrfs_volume.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { IdMap } from "../../../lib/base/id_maps.ts";
import { performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import type { LayerChain } from "../../../lib/snapshots/backend.ts";
import { sleep } from "../../../lib/base/sleep.ts";
import { namespacedProcesses } from "../../../lib/base/processes.ts";
import { mountPoints, must, run } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { names, read } from "../../support/files.ts";
import { directory } from "./support.ts";
import {
  inDirectory,
  makeSnapshot,
  makeSubvolume,
  mounted,
  snapshotCase,
  SnapshotHome,
} from "./snapshots_support.ts";

const write = Deno.writeTextFileSync;

// `printf 'base key' | sha224sum`, and of `base`.
const BASE_KEY = "32d943c71f573fb0e5e8d4f84bad77aeee5bec6287158b5190d3ac14";
const BASE = "86e105d9c0ea5972833ddc23813db6f5fb4e515b2beb3646e96eeb4e";

snapshotCase("layers lie under the hashes of their names", (store) => {
  const { backend, home } = store;
  const { chain: active } = store.prepare("base key");
  assertEquals(active.layer, `active.${BASE_KEY}`);
  write(`${home}/active/${BASE_KEY}/file`, "content");
  const committed = store.chain("committed", "base");
  backend.freeze(active, committed.layer);
  assertEquals(backend.list(), [`active.${BASE_KEY}`, `snapshots.${BASE}`]);
  backend.remove(active.layer);
  assertEquals([names(`${home}/active`), names(`${home}/snapshots`)], [[], [BASE]]);
  assertEquals(read(`${home}/snapshots/${BASE}/file`), "content");
  assertThrows(() => write(`${home}/snapshots/${BASE}/file`, ""), Error, "Read-only");

  const { path } = store.prepare("base key", "base");
  assertEquals(read(`${path}/file`), "content");
  const parent = inDirectory(store.path(committed), subvolumeInfo);
  assertEquals(inDirectory(path, subvolumeInfo).parentUuid, parent.uuid);
  write(`${path}/file`, "changed");
  assertEquals(read(`${home}/snapshots/${BASE}/file`), "content");
  assertEquals(names(`${home}/.veneer/staging`), []);
});

snapshotCase("an empty layer is container root's", (store) => {
  const map = new IdMap([{ container: 0, host: 100_000, size: 65_536 }]);
  const backend = store.open({}, { uids: map, gids: map });
  for (const kind of ["active", "view"] as const) {
    const chain = store.chain(kind, kind);
    backend.prepare(chain);
    const { mode, uid, gid } = Deno.statSync(store.path(chain));
    assertEquals([mode! & 0o7777, uid, gid], [0o755, 100_000, 100_000]);
    assertEquals(names(store.path(chain)), []);
  }
  assertEquals(names(`${store.home}/.veneer/staging`), []);
});

snapshotCase("a view cannot be written to, with a parent or without", (store) => {
  store.commit("base", (path) => write(`${path}/file`, "content"));
  for (const parents of [[], ["base"]]) {
    const view = store.chain("view", `view of ${parents}`, ...parents);
    store.backend.prepare(view);
    assert(inDirectory(store.path(view), isReadOnly));
    assertEquals(names(store.path(view)), parents.length === 0 ? [] : ["file"]);
    assertThrows(() => write(`${store.path(view)}/file`, ""), Error, "Read-only");
    store.backend.remove(view.layer);
  }
});

snapshotCase("what an open file gets after the commit is not in the committed layer", (store) => {
  const { chain, path } = store.prepare("key");
  using file = Deno.openSync(`${path}/file`, { create: true, write: true });
  const mib = new Uint8Array(1 << 20);
  file.writeSync(mib.fill(1));
  const committed = store.chain("committed", "name");
  store.backend.freeze(chain, committed.layer);
  const hash = () => must("sha256sum", `${store.path(committed)}/file`);
  const before = hash();
  assertEquals(Deno.statSync(`${store.path(committed)}/file`).size, 1 << 20);
  file.writeSync(mib.fill(2));
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(mib.fill(3));
  file.syncSync();
  assertEquals(hash(), before);
  store.backend.remove(chain.layer);
  file.writeSync(mib.fill(4));
  must("sync", "-f", store.home);
  must("sh", "-c", "echo 1 >/proc/sys/vm/drop_caches");
  assertEquals(hash(), before);
  assertEquals(store.backend.list(), [committed.layer]);
});

snapshotCase("what lies in another subvolume is not committed, and that is said", (store) => {
  const { chain, path } = store.prepare("key");
  makeSubvolume(path, "nested");
  write(`${path}/nested/file`, "");
  const committed = store.chain("committed", "name");
  store.backend.freeze(chain, committed.layer);
  assertEquals(names(`${store.path(committed)}/nested`), []);
  assertMatch(store.warnings.join("\n"), /^a subvolume lies in .*active.*an empty directory/);
});

snapshotCase(
  "TestBtrfsMounts: prepared, mounted by what it says, committed, built upon",
  (store, dir) => {
    const { backend } = store;
    const device = must("findmnt", "-no", "SOURCE", "-T", directory).trim().replace(/\[.*\]$/, "");
    const { chain, path } = store.prepare("one");
    const mounts = backend.mounts(chain);
    const { id } = inDirectory(path, subvolumeInfo);
    assertEquals(mounts, [{ type: "btrfs", source: device, options: [`subvolid=${id}`] }]);
    const committed = store.chain("committed", "committed");
    mounted(mounts, `${dir.path}/target`, () => {
      write(`${dir.path}/target/foo`, "content");
      backend.freeze(chain, committed.layer);
      backend.remove(chain.layer);
      // What is mounted still is the removed one.
      assertThrows(() => write(`${dir.path}/target/late`, ""), Deno.errors.NotFound);
    });
    const two = store.chain("active", "two", "committed");
    backend.prepare(two);
    mounted(backend.mounts(two), `${dir.path}/target`, () => {
      assertEquals(read(`${dir.path}/target/foo`), "content");
      write(`${dir.path}/target/bar`, "content");
    });
    backend.freeze(two, store.chain("committed", "committed2").layer);

    const view = store.chain("view", "view", "committed2", "committed");
    backend.prepare(view);
    const [{ options }] = backend.mounts(view);
    assertEquals(options, [`subvolid=${inDirectory(store.path(view), subvolumeInfo).id}`, "ro"]);
    mounted(backend.mounts(view), `${dir.path}/target`, () => {
      assertEquals(names(`${dir.path}/target`), ["bar", "foo"]);
      assertThrows(() => write(`${dir.path}/target/foo`, ""), Error, "Read-only");
    });
  },
);

snapshotCase("a plan mounts at the target and nowhere else", (store, dir) => {
  store.commit("base", (path) => write(`${path}/file`, "content"));
  const target = `${dir.path}/target`;
  Deno.mkdirSync(target);
  const perform = (chain: LayerChain, use: () => void, backend = store.backend) => {
    const plan = backend.plan(chain, target);
    assertEquals(plan.path, target);
    performPlan(plan, kernelMountPort);
    try {
      use();
    } finally {
      undoPlan(plan, kernelMountPort, () => {});
    }
    assertEquals(names(target), []);
  };
  const { chain, path } = store.prepare("key", "base");
  perform(chain, () => write(`${target}/file`, "changed"));
  assertEquals(read(`${path}/file`), "changed");
  const view = store.chain("view", "view", "base");
  store.backend.prepare(view);
  perform(view, () => {
    assertEquals(read(`${target}/file`), "content");
    assertMatch(must("findmnt", "-no", "OPTIONS", target), /^ro,/);
  });

  const [{ source }] = store.backend.mounts(chain);
  Deno.symlinkSync(source, `${dir.path}/device`);
  const given = store.open({ "btrfs.device": `${dir.path}/device` });
  assertEquals(given.mounts(chain)[0].source, `${dir.path}/device`);
  perform(chain, () => assertEquals(names(target), ["file"]), given);
  const wrong = store.open({ "btrfs.device": "/dev/none" });
  const error = assertFails("not found", () => perform(chain, () => {}, wrong));
  assertMatch(error.message, /\/dev\/none.*in the option btrfs\.device/);
  assertFails("invalid argument", () => store.open({ "btrfs.device": "sdb1" }));
});

snapshotCase("a layer that is mounted in another namespace is in use", (store, dir) => {
  const { backend } = store;
  const { chain } = store.prepare("key"), other = store.prepare("other").chain;
  const target = `${dir.path}/target`;
  const [{ type, source, options }] = backend.mounts(chain);
  Deno.mkdirSync(target);
  const mount = ["mount", "-t", type, "-o", options.join(","), source, target];
  const script = `unshare --mount --propagation private sh -c '"$@" && exec sleep 600' sh "$@" \
    >/dev/null 2>&1 & echo $!`;
  const pid = Number(must("sh", "-c", script, "sh", ...mount));
  try {
    const lines = () => Deno.readTextFileSync(`/proc/${pid}/mountinfo`);
    while (!lines().includes(` ${target} `)) { /* not mounted yet */ }
    assertEquals(mountPoints(target), []);
    const { message } = assertFails("in use", () => backend.checkUnused(chain));
    assert(message.includes(` is mounted at ${target} (mount namespace `), message);
    assert(message.includes(`(pid ${pid}))`), message);
    backend.checkUnused(other);
  } finally {
    Deno.kill(pid, "SIGKILL");
  }
  while (isNamespaced(pid)) { /* it is ending */ }
  backend.checkUnused(chain);
});

/** Whether a process still lives in a mount namespace: a dead one that nobody waited for does not. */
function isNamespaced(pid: number): boolean {
  return namespacedProcesses().some((other) => other.pid === String(pid));
}

snapshotCase("a mounted layer is in use, however it is mounted", (store, dir) => {
  const { backend } = store;
  const { chain, path } = store.prepare("key");
  Deno.mkdirSync(`${path}/inside`);
  const other = store.prepare("other").chain;
  const target = `${dir.path}/target`;
  const refused = () => {
    const { message } = assertFails("in use", () => backend.checkUnused(chain));
    assert(message.includes(` ${target} (`), message);
    backend.checkUnused(other);
  };
  backend.checkUnused(chain);
  mounted(backend.mounts(chain), target, refused);
  mounted([{ type: "none", source: `${path}/inside`, options: ["bind"] }], target, refused);
  backend.checkUnused(chain);
  backend.checkUnused(store.chain("active", "none such"));
});

snapshotCase("removing brings whatever is there to an end", (store) => {
  const { backend, home } = store;
  const staging = `${home}/.veneer/staging`;
  const { chain, path } = store.prepare("key");
  backend.remove(chain.layer);
  backend.remove(chain.layer);
  assertEquals(backend.list(), []);

  // Subvolumes in it, some read-only, and deep.
  backend.prepare(chain);
  Deno.mkdirSync(`${path}/a/b`, { recursive: true });
  makeSubvolume(`${path}/a/b`, "nested");
  makeSubvolume(`${path}/a/b/nested`, "inner");
  makeSnapshot(`${path}/a/b/nested`, path, "frozen", { readOnly: true });
  inDirectory(path, (fd) => setReadOnly(fd, true));
  backend.remove(chain.layer);
  assertEquals(names(`${home}/active`), []);

  // What a process leaves that is killed while it makes an empty layer: after each step.
  const left: readonly ((place: string) => void)[] = [
    () => {},
    (place) => makeSubvolume(place, "layer"),
    (place) => makeSnapshot(`${place}/layer`, `${home}/active`, chain.layer.split(".")[1]),
  ];
  for (let steps = 1; steps <= left.length; steps++) {
    Deno.mkdirSync(`${staging}/${chain.layer}`);
    for (const step of left.slice(0, steps)) step(`${staging}/${chain.layer}`);
    assertEquals(backend.list(), [chain.layer]);
    backend.remove(chain.layer);
    assertEquals([backend.list(), names(staging), names(`${home}/active`)], [[], [], []]);
  }
});

snapshotCase("what a power failure brought back makes room for a new layer", (store) => {
  const { backend } = store;
  store.commit("base", (path) => write(`${path}/base`, ""));
  for (const parents of [[], ["base"]]) {
    const { chain, path } = store.prepare("key", ...parents);
    write(`${path}/old`, "");
    makeSubvolume(path, "nested");
    Deno.mkdirSync(`${store.home}/.veneer/staging/${chain.layer}`);
    makeSubvolume(`${store.home}/.veneer/staging/${chain.layer}`, "layer");
    backend.prepare(chain);
    assertEquals(names(path), parents);
    const committed = store.chain("committed", "name");
    backend.freeze(chain, committed.layer);
    write(`${path}/new`, "");
    backend.freeze(chain, committed.layer);
    assertEquals(names(store.path(committed)), [...parents, "new"]);
    for (const layer of [chain.layer, committed.layer]) backend.remove(layer);
    backend.remove(chain.layer);
  }
  assertEquals(backend.list(), [store.chain("committed", "base").layer]);
});

snapshotCase("a layer that is gone, or no subvolume, is named", (store) => {
  const { backend } = store;
  const gone = store.chain("active", "gone");
  const uses: ((chain: LayerChain) => unknown)[] = [
    (chain) => backend.mounts(chain),
    (chain) => backend.usage(chain),
    (chain) => backend.freeze(chain, gone.layer),
  ];
  for (const use of uses) {
    const error = assertFails("corrupt store", () => use(gone));
    assert(error.message.includes(`${store.path(gone)}, a snapshot's layer, is missing`));
  }
  const child = store.chain("active", "child", "gone");
  assertFails("corrupt store", () => backend.prepare(child));
  Deno.mkdirSync(`${store.path(gone)}/below`, { recursive: true });
  assertMatch(
    assertFails("corrupt store", () => backend.mounts(gone)).message,
    /is a directory, not a subvolume/,
  );
  assertEquals(backend.list(), [gone.layer]);
  backend.remove(gone.layer);
  assertEquals(backend.list(), []);
});

snapshotCase("what else lies in the directories is no layer, and stays", (store) => {
  for (const name of ["active", "snapshots", ".veneer/staging"]) {
    Deno.mkdirSync(`${store.home}/${name}/stranger`);
  }
  assertEquals(store.backend.list(), []);
  const { chain } = store.prepare("key");
  assertEquals(store.backend.list(), [chain.layer]);
  store.backend.release();
  for (const name of ["active", "snapshots", ".veneer/staging"]) {
    assert(names(`${store.home}/${name}`).includes("stranger"));
  }
});

snapshotCase(
  "no qgroup is left of layers, of what lay in them, or of what empty ones were made from",
  (store) => {
    const onVolume = <T>(use: (fd: number) => T) => inDirectory(directory, use);
    const settled = () =>
      onVolume((fd) => {
        commit(fd);
        return qgroups(fd).map(String);
      });
    onVolume((fd) => {
      if (quotaStatus(fd).mode === "off") unwrap(tryEnableQuota(fd, "qgroup"), "quota");
    });
    try {
      const before = new Set(settled());
      const { backend } = store;
      store.commit(
        "base",
        (path) => Deno.writeFileSync(`${path}/data`, new Uint8Array(1 << 20).fill(1)),
      );
      const { chain, path } = store.prepare("key", "base");
      makeSubvolume(path, "nested");
      backend.remove(chain.layer);
      backend.remove(store.chain("committed", "base").layer);
      for (let i = 0; i < 3000 && names(`${store.home}/.veneer/qgroups`).length > 0; i++) {
        backend.release();
        sleep(20);
      }
      assertEquals(names(`${store.home}/.veneer/qgroups`), []);
      assertEquals(settled().filter((id) => !before.has(id)), []);
      assertEquals(onVolume(quotaStatus).mode, "qgroup");
    } finally {
      onVolume(disableQuota);
    }
  },
);

snapshotCase("several devices, two file systems, a store below a subvolume", (_, dir) => {
  const images = ["a", "b", "c"].map((name) => `${dir.path}/${name}.img`);
  for (const image of images) must("truncate", "-s", "256M", image);
  const [a, b, c] = images.map((image) => must("losetup", "--find", "--show", image).trim());
  const places = ["two", "one", "below"].map((name) => `${dir.path}/${name}`);
  const [two, one, below] = places;
  for (const place of places) Deno.mkdirSync(place);
  const target = `${dir.path}/target`;
  try {
    must("mkfs.btrfs", "-q", "-f", "-d", "single", "-m", "raid1", a, b);
    must("mkfs.btrfs", "-q", "-f", c);
    must("mount", "-o", `device=${a},device=${b}`, b, two);
    must("mount", c, one);
    const homes = [new SnapshotHome(two), new SnapshotHome(one)];
    const [first, second] = homes.map((home) => home.prepare("key").chain);
    const mounts = homes.map((home, i) => home.backend.mounts([first, second][i])[0]);
    assert([a, b].includes(mounts[0].source));
    assertEquals(mounts[1].source, c);
    assertEquals(mounts[0].options, mounts[1].options, "both have the same id");
    mounted([mounts[0]], target, () => {
      write(`${target}/file`, "two");
      assertFails("in use", () => homes[0].backend.checkUnused(first));
      homes[1].backend.checkUnused(second);
    });
    assertEquals(read(`${homes[0].path(first)}/file`), "two");

    makeSubvolume(one, "inner");
    must("mount", "-o", "subvol=inner", c, below);
    const inner = new SnapshotHome(below);
    const { chain, path } = inner.prepare("key");
    mounted(inner.backend.mounts(chain), target, () => {
      write(`${target}/file`, "below");
      assertFails("in use", () => inner.backend.checkUnused(chain));
    });
    assertEquals(read(`${path}/file`), "below");
  } finally {
    for (const place of [target, below, one, two]) run("umount", place);
    for (const device of [a, b, c]) run("losetup", "-d", device);
  }
});

snapshotCase("a layer in which something is mounted is in use", (store) => {
  const { chain, path } = store.prepare("key");
  Deno.mkdirSync(`${path}/in`);
  must("mount", "-t", "tmpfs", "tmpfs", `${path}/in`);
  const { message } = assertFails("in use", () => store.backend.checkUnused(chain));
  assertMatch(message, /mounted in layer active\..*\/in; `umount .*\/in` first/);
  must("umount", `${path}/in`);
  store.backend.checkUnused(chain);
});
