/**
 * The times at which layers are mended: after an unmount, before a commit, and before the next mount
 * if a process was killed or the layer was unmounted by another program. The calls of a mount go to
 * a port that writes them down, and a directory stands for aufs's sysfs.
 */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import type { AufsEnvironment } from "../../../drivers/aufs/environment.ts";
import { AufsSnapshots } from "../../../drivers/aufs/snapshots.ts";
import type { Aufs } from "../../../drivers/aufs/backend.ts";
import { Home } from "../../../lib/store/home.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type MountPlan, performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import { must, needs, type TempDir } from "../../support/cases.ts";
import { killBeforeEveryCall } from "../kill/killing.ts";
import { lacksKilling } from "../kill/graph.ts";
import { names } from "../../support/files.ts";
import { ABLE, chain, graphOf, open, Recorder, refused, test } from "./support.ts";
import { shown } from "./shown.ts";

/** A store of three layers, each on the one before it. */
interface Layers {
  readonly backend: Aufs;
  readonly recorder: Recorder;
  /** A layer's directory. */
  readonly diff: (id: string) => string;
  readonly marks: () => string[];
}

function layers(dir: TempDir, environment: Partial<AufsEnvironment> = {}): Layers {
  const recorder = new Recorder(`${dir.path}/root`, true);
  const backend = open(recorder.root, { port: recorder, sysfs: sysfs(dir), ...environment });
  if (!backend.exists("3")) chain(backend, ["1", "2", "3"]);
  const { home } = backend;
  return {
    backend,
    recorder,
    diff: (id) => home.join("diff", id).text,
    marks: () => names(`${home.path}/.veneer/unmended`),
  };
}

const sysfs = (dir: TempDir) => `${dir.path}/sysfs`;

/** Says in sysfs that a mount writes to a directory. */
function use(dir: TempDir, directory: string): void {
  Deno.mkdirSync(`${sysfs(dir)}/si_1f`, { recursive: true });
  Deno.writeTextFileSync(`${sysfs(dir)}/si_1f/br0`, `${directory}=rw\n`);
}

/** Makes `an` anew in a layer, as a container does through its mount, with a file of the layer's name. */
function remake(directory: string, name: string): void {
  Deno.mkdirSync(`${directory}/an`);
  Deno.writeTextFileSync(`${directory}/an/.wh..wh..opq`, "");
  Deno.writeTextFileSync(`${directory}/an/f${name}`, "");
}

const FAULTLESS = [".wh..wh..opq", ".wh.f2", "f3"], FAULTY = [".wh..wh..opq", "f3"];

const unmount = (plan: MountPlan, port: Recorder) =>
  undoPlan(plan, port, (target) => {
    throw new Error(`${target} is busy`);
  });

test("mending: after the unmount, and a layer that is mounted read-only is not looked at", (dir) => {
  const { backend, recorder, diff, marks } = layers(dir);
  remake(diff("2"), "2");
  const plan = backend.plan("3", {});
  performPlan(plan, recorder);
  assertEquals(marks(), ["3"]);
  remake(diff("3"), "3");
  const seen: string[][] = [];
  const watching = new Recorder(recorder.root, true, () => {
    seen.push(names(`${diff("3")}/an`));
    return false;
  });
  undoPlan(plan, watching, () => {});
  assertEquals(seen, [FAULTY], "not while it is mounted");
  assertEquals([names(`${diff("3")}/an`), marks()], [FAULTLESS, []]);
  assertEquals([...shown([diff("3"), diff("2"), diff("1")]).keys()], ["/an", "/an/f3"]);

  // What nobody could write to needs no walk; so what is wrong in it stays.
  Deno.removeSync(`${diff("3")}/an/.wh.f2`);
  const readOnly = backend.plan("3", { readOnly: true });
  performPlan(readOnly, recorder);
  assertEquals(marks(), []);
  unmount(readOnly, recorder);
  assertEquals(names(`${diff("3")}/an`), FAULTY);
});

test("mending: before the next mount, if nobody did it after the last one", (dir) => {
  const { backend, recorder, diff, marks } = layers(dir);
  remake(diff("2"), "2");
  const isMendedBy = (mount: () => void) => {
    performPlan(backend.plan("3", {}), recorder); // and no more
    if (names(diff("3")).includes("an")) Deno.removeSync(`${diff("3")}/an`, { recursive: true });
    remake(diff("3"), "3");
    mount();
    assertEquals(names(`${diff("3")}/an`), FAULTLESS);
  };
  isMendedBy(() => performPlan(backend.plan("3", { readOnly: true }), recorder));
  assertEquals(marks(), []);
  isMendedBy(() => performPlan(backend.plan("3", {}), recorder));
  assertEquals(marks(), ["3"]);
  chain(backend, ["4"]);
  Deno.writeTextFileSync(backend.home.join("layers/4").text, "3\n2\n1\n");
  isMendedBy(() => performPlan(backend.plan("4", { readOnly: true }), recorder));
  isMendedBy(() => backend.mounts("3", { readOnly: true }));
  isMendedBy(() => backend.mounts("3", {}));
  assertEquals(marks(), ["3"], "who performs what is told may write");
});

test("mending: not while a mount writes to the layer, be it attached or not", (dir) => {
  const { backend, recorder, diff, marks } = layers(dir);
  remake(diff("2"), "2");
  const plan = backend.plan("3", {});
  performPlan(plan, recorder);
  remake(diff("3"), "3");
  use(dir, diff("3"));
  unmount(plan, recorder);
  performPlan(backend.plan("3", { readOnly: true }), recorder);
  assertEquals([names(`${diff("3")}/an`), marks()], [FAULTY, ["3"]]);
  use(dir, diff("2"));
  performPlan(backend.plan("3", { readOnly: true }), recorder);
  assertEquals([names(`${diff("3")}/an`), marks()], [FAULTLESS, []]);
});

test("mending: an end that takes aufs some milliseconds is waited for", async (dir) => {
  const { backend, recorder, diff, marks } = layers(dir);
  remake(diff("2"), "2");
  const plan = backend.plan("3", {});
  performPlan(plan, recorder);
  remake(diff("3"), "3");
  use(dir, diff("3"));
  // A thread that is there already: a program's start may take longer than is waited for.
  const ending = new Worker(new URL("./ending_worker.ts", import.meta.url), { type: "module" });
  await new Promise((resolve) => ending.onmessage = resolve);
  ending.postMessage(`${sysfs(dir)}/si_1f`);
  unmount(plan, recorder);
  ending.terminate();
  assertEquals([names(`${diff("3")}/an`), marks()], [FAULTLESS, []]);
});

test("mending: what fails is warned of, stays marked and keeps no mount from being taken down", (dir) => {
  const warnings: string[] = [];
  const { backend, recorder, diff, marks } = layers(dir, {
    warn: (message) => warnings.push(message),
  });
  remake(diff("2"), "2");
  const plan = backend.plan("3", {});
  performPlan(plan, recorder);
  remake(diff("3"), "3");
  must("mount", "-t", "tmpfs", "tmpfs", `${diff("3")}/an`);
  unmount(plan, recorder);
  assertEquals(recorder.calls.map(({ call }) => call), ["mount", "unmount"]);
  assertEquals(warnings, [
    "layer 3 may show files deleted below it when it is mounted again: an in the tree that is being read is a " +
    "mount point; unmount it first",
  ]);
  must("umount", `${diff("3")}/an`);
  performPlan(backend.plan("3", { readOnly: true }), recorder);
  assertEquals([names(`${diff("3")}/an`), marks()], [FAULTLESS, []]);
});

test("mending: a mark goes with its layer", (dir) => {
  const { backend, recorder, marks } = layers(dir);
  performPlan(backend.plan("3", {}), recorder);
  assertEquals(marks(), ["3"]);
  graphOf(backend, recorder).remove("3");
  assertEquals(marks(), []);
});

/** Snapshots, as if the kernel had aufs. */
function snapshots(dir: TempDir) {
  const root = `${dir.path}/root`, port = new Recorder(root, true);
  const home = Home.open(`${root}/snapshots`, "aufs", IDENTITY);
  const backend = new AufsSnapshots(home, IDENTITY, { ...ABLE, port, sysfs: sysfs(dir) });
  const store = new Snapshots({ backend, port, warn: ABLE.warn });
  return {
    store,
    port,
    fs: (key: string) => home.join("snapshots", store.stat(key).layer, "fs").text,
    marks: () => names(`${home.path}/.veneer/unmended`),
  };
}

/** Commits `1` and `2`, on it, each with `an` made anew, and prepares `key` on it. */
function prepared(dir: TempDir): ReturnType<typeof snapshots> {
  const made = snapshots(dir);
  for (const [name, parent] of [["1", ""], ["2", "1"]]) {
    made.store.prepare("key", parent);
    remake(made.fs("key"), name);
    made.store.commit(name, "key");
  }
  made.store.prepare("key", "2");
  return made;
}

test("mending: a snapshot is mended before it is committed, if anybody could have mounted it", (dir) => {
  const { store, fs, marks } = prepared(dir);
  try {
    assertEquals(marks(), [store.stat("key").layer], "it was told how to be mounted");
    remake(fs("key"), "3");
    store.commit("3", "key");
    assertEquals([names(`${fs("3")}/an`), marks()], [FAULTLESS, []]);
    assertEquals([...shown([fs("3"), fs("2"), fs("1")]).keys()], ["/an", "/an/f3"]);

    store.prepare("other", "2");
    store.remove("other");
    assertEquals(marks(), []);
  } finally {
    store.close();
  }
});

test("mending: a snapshot is mended when it is unmounted, and then no more at its commit", (dir) => {
  const { store, port, fs, marks } = prepared(dir);
  try {
    const plan = store.plan("key", `${dir.path}/at`);
    performPlan(plan, port);
    remake(fs("key"), "3");
    unmount(plan, port);
    assertEquals([names(`${fs("key")}/an`), marks()], [FAULTLESS, []]);
    Deno.removeSync(`${fs("key")}/an/.wh.f2`);
    store.commit("3", "key");
    assertEquals(names(`${fs("3")}/an`), FAULTY, "a second walk would be for nothing");
  } finally {
    store.close();
  }
});

needs(
  refused ?? lacksKilling,
  "aufs mending: killed before every system call of it",
  () =>
    killBeforeEveryCall({
      name: "aufs mending",
      script: "aufs_mending_child.ts",
      arguments: ({ path }) => [`${path}/root`],
      prepare: (dir) => {
        const { backend, recorder, diff } = layers(dir);
        remake(diff("2"), "2");
        for (let i = 0; i < 5; i++) Deno.writeTextFileSync(`${diff("2")}/an/more${i}`, "");
        performPlan(backend.plan("3", {}), recorder);
        remake(diff("3"), "3");
      },
      verify: (dir, _before, done) => {
        const { backend, recorder, diff, marks } = layers(dir);
        const isMended = () =>
          [...shown([diff("3"), diff("2"), diff("1")]).keys()].join(" ") === "/an /an/f3";
        assert(
          isMended() || !done && marks().length === 1,
          "it is not mended, and nothing says so",
        );
        performPlan(backend.plan("3", { readOnly: true }), recorder);
        assert(isMended());
        assertEquals(marks(), []);
      },
    }),
);
