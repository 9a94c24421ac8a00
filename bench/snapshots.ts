/**
 * Snapshots against containerd's own snapshotter of the same kind, and against the kernel's floor, on the file
 * system that `VENEER_TEST_DIR` lies on: btrfs, or another one for overlay2.
 *
 * A containerd of Debian's keeps its snapshots on the same file system. It is called as users call it, by `ctr`,
 * which is a program to start, and by its API, where a call that does nothing says what a call costs. Veneer's
 * calls are made inside one process, as a program that imports it makes them, and by its command line.
 *
 * @module
 */
import { join } from "@std/path";
import { openSnapshotter } from "../tests/support/drivers.ts";
import { createSnapshot, tryDestroySubvolume } from "../ffi/btrfs_subvolume.ts";
import { entryName } from "../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../ffi/files.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { IDENTITY } from "../lib/base/id_maps.ts";
import { performPlan, undoPlan } from "../lib/mount/plan.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { Containerd } from "./containerd.ts";
import { makeBase } from "./corpus.ts";
import { compare, type Contender, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const fileSystem = Deno.env.get("VENEER_TEST_FS") ?? "";
const driver = fileSystem === "btrfs" ? "btrfs" : "overlay2";
const root = join(DIRECTORY, "root");
const target = join(DIRECTORY, "target");

const THEIRS = "containerd, by its API";
const NOTHING = "an API call that does nothing";
const OURS = "veneer, in one process";

const warn = (message: string) => console.error(message);
const store = openSnapshotter({ root, driver, options: [], idMaps: IDENTITY, warn });
const veneer = (...args: string[]) =>
  run(VENEER[0], ...VENEER.slice(1), "--root", root, "--driver", driver, "snapshot", ...args);

console.log(`== snapshots, ${driver} on ${fileSystem}, as ratios of medians (least to most)`);
Deno.mkdirSync(target, { recursive: true });
const snapshotter = driver === "btrfs" ? "btrfs" : "overlayfs";
await using peer = await Containerd.start(join(DIRECTORY, "containerd"), snapshotter);
const ctr = (...args: string[]) => run("ctr", ...peer.ctr(...args));

const corpus = makeBase(DIRECTORY);
const copyIn = (at: string) => run("cp", "-a", "--reflink=never", `${corpus.directory}/.`, at);
store.prepare("filling", "");
withStore("filling", copyIn);
store.commit("base", "filling");
await peer.prepare("filling", "");
withPeer("filling", copyIn);
await peer.commit("base", "filling");
run("sync", "-f", DIRECTORY);

if (driver === "btrfs") {
  await benchCommit("an unchanged snapshot", () => {});
  await benchCommit("a snapshot with 200 files changed", changeFiles);
  await benchPrepare();
} else {
  await benchCalls();
}
store.close();

/** Rewrites 200 of the base's files, all over it. */
function changeFiles(at: string): void {
  for (let n = 0; n < 200; n++) {
    const i = 75 * n;
    Deno.writeTextFileSync(
      join(at, `usr/lib/d${i % 97}/e${i % 13}/file${i}`),
      `changed ${performance.now()}`,
    );
  }
}

/** Commits a snapshot of a base of 15,000 files; whoever prepared it, it is unmounted again. */
async function benchCommit(what: string, change: (at: string) => void): Promise<void> {
  const prepared = {
    before: () => {
      store.prepare("key", "base");
      withStore("key", change);
    },
    after: () => store.remove("name"),
  };
  const prepareByCtr = {
    before: () => {
      ctr("prepare", "key", "base");
      withPeer("key", change);
    },
    after: async () => {
      await peer.remove("name");
      await peer.collect();
    },
  };
  const results = await compare([
    { name: "ctr snapshots commit", ...prepareByCtr, run: () => ctr("commit", "name", "key") },
    { name: THEIRS, ...prepareByCtr, run: () => peer.commit("name", "key") },
    { name: NOTHING, run: () => peer.version() },
    { name: "veneer snapshot commit", ...prepared, run: () => veneer("commit", "name", "key") },
    { name: OURS, ...prepared, run: () => store.commit("name", "key") },
  ], QUICK ? 3 : 15);
  report(
    `commit of ${what}, base of 15,000 files`,
    results,
    "ctr snapshots commit",
    "10 times faster than ctr",
  );
}

async function benchPrepare(): Promise<void> {
  const base = join(store.home, "snapshots", layerName("base"));
  const results = await compare([
    {
      name: "SNAP_CREATE_V2",
      run: () =>
        inDirectory(
          DIRECTORY,
          (fd) => inDirectory(base, (source) => createSnapshot(fd, entryName("bare"), source)),
        ),
      after: () =>
        inDirectory(
          DIRECTORY,
          (fd) => unwrap(tryDestroySubvolume(fd, entryName("bare")), "destroy"),
        ),
    },
    {
      name: OURS,
      run: () => store.prepare("key", "base"),
      after: () => store.remove("key"),
    },
    {
      name: THEIRS,
      run: () => peer.prepare("key", "base"),
      after: async () => {
        await peer.remove("key");
        await peer.collect();
      },
    },
    { name: NOTHING, run: () => peer.version() },
  ], QUICK ? 10 : 60);
  report("prepare on a base of 15,000 files", results, "SNAP_CREATE_V2");
}

/** The directory's name of a layer `snapshots.<hash>`. */
function layerName(name: string): string {
  return store.stat(name).layer.replace(/^snapshots\./, "");
}

/**
 * Each call many times in a turn, by both with the same keys. What containerd removes it only forgets until its
 * garbage is collected, so that removing is measured with that, too.
 */
async function benchCalls(): Promise<void> {
  const count = QUICK ? 10 : 50;
  const each = async (call: (i: number) => unknown) => {
    for (let i = 0; i < count; i++) await call(i);
  };
  const nothing = { name: NOTHING, run: () => each(() => peer.version()) };
  const contenders = (to: Calls, collect: () => unknown) => {
    const prepare = () => each((i) => to.prepare(`key ${i}`, "base"));
    const commit = () => each((i) => to.commit(`name ${i}`, `key ${i}`));
    const remove = (what: string) => each((i) => to.remove(`${what} ${i}`));
    const removeAll = (what: string) => async () => {
      await remove(what);
      await collect();
    };
    return {
      prepare: { run: prepare, after: removeAll("key") },
      commit: { before: prepare, run: commit, after: removeAll("name") },
      remove: {
        before: prepare,
        run: () => remove("key"),
        after: async () => void await collect(),
      },
      removeAll: { before: prepare, run: removeAll("key") },
    };
  };
  const theirs = contenders(peer, () => peer.collect()), ours = contenders(store, () => {});
  for (const what of ["prepare", "commit", "remove"] as const) {
    const all: Contender[] = [{ name: THEIRS, ...theirs[what] }];
    if (what === "remove") all.push({ name: `${THEIRS}, and collected`, ...theirs.removeAll });
    all.push(nothing, { name: OURS, ...ours[what] });
    const results = await compare(all, QUICK ? 3 : 11);
    report(`${what}, ${count} times`, results, THEIRS, "no slower than containerd");
  }
}

interface Calls {
  prepare(key: string, parent: string): unknown;
  commit(name: string, key: string): unknown;
  remove(key: string): unknown;
}

function withStore(key: string, use: (at: string) => void): void {
  const plan = store.plan(key, target);
  performPlan(plan, kernelMountPort);
  try {
    use(plan.path);
  } finally {
    undoPlan(plan, kernelMountPort, (_, error) => {
      throw error;
    });
  }
}

function withPeer(key: string, use: (at: string) => void): void {
  const { stdout } = new Deno.Command("ctr", { args: peer.ctr("mounts", target, key) })
    .outputSync();
  run("sh", "-c", new TextDecoder().decode(stdout));
  try {
    use(target);
  } finally {
    run("umount", target);
  }
}

function inDirectory(path: string, use: (fd: number) => void): void {
  withFd(open(path, O_RDONLY | O_DIRECTORY), use);
}
