/**
 * The calls of Docker's graph driver protocol, as dockerd makes them: answers, counts, and restarts
 * of either side.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, mountPoints, needs, run } from "../support/cases.ts";
import { names, read } from "../support/files.ts";
import { refusal, veneer } from "../support/commands.ts";
import { Process } from "./service_support.ts";
import { namesOf, tarOf, TestPlugin } from "./docker_support.ts";

const lacking = lacksFileSystem("overlay");
const BASE = tarOf({ kept: "kept\n", changed: "old\n", gone: "gone\n" });

/** A plugin with an image's layer and a container's on it. */
async function withContainer(): Promise<TestPlugin> {
  const plugin = await TestPlugin.start();
  await plugin.layer("image", BASE);
  await plugin.call("CreateReadWrite", { ID: "box", Parent: "image", StorageOpt: null });
  return plugin;
}

/** Starts a process in a directory. */
async function processIn(directory: string): Promise<Process> {
  const process = new Process([
    "sh",
    "-c",
    'cd "$0" && echo there >&2 && exec sleep 600',
    directory,
  ]);
  await process.said(/there/);
  await process.until(() => read(`/proc/${process.pid}/comm`) === "sleep\n", "it to be sleep");
  return process;
}

needs(lacking, "docker plugin: all calls, as a daemon makes them", async () => {
  await using plugin = await TestPlugin.bare();
  const activated = await plugin.fetch("Plugin.Activate", "");
  assertEquals(await activated.json(), { Implements: ["GraphDriver"] });
  assertStringIncludes(await plugin.refused("Exists", { ID: "image" }), "no store is open");
  await plugin.init();
  assertEquals(await plugin.call("Capabilities"), {
    Capabilities: { ReproducesExactDiffs: false },
  });
  const { Status } = await plugin.call("Status");
  assertEquals(Status[0][0], "Backing Filesystem");

  await plugin.call("Create", { ID: "image", Parent: "", MountLabel: "", StorageOpt: null });
  assertEquals(await plugin.applyDiff("image", BASE), { status: 200, body: { Size: 14, Err: "" } });
  await plugin.call("CreateReadWrite", { ID: "box", Parent: "image" });
  assertEquals(await plugin.call("Exists", { ID: "box" }), { Exists: true });
  const { Dir } = await plugin.call("Get", { ID: "box", MountLabel: "" });
  assertEquals(read(`${Dir}/kept`), "kept\n");
  Deno.writeTextFileSync(`${Dir}/changed`, "new\n");
  Deno.writeTextFileSync(`${Dir}/added`, "added\n");
  Deno.removeSync(`${Dir}/gone`);

  // The layer is mounted and written to, and stays mounted.
  const compared = { ID: "box", Parent: "image" };
  assertEquals((await plugin.call("Changes", compared)).Changes, [
    { Path: "/added", Kind: 1 },
    { Path: "/changed", Kind: 0 },
    { Path: "/gone", Kind: 2 },
  ]);
  assertEquals(await plugin.call("DiffSize", compared), { Size: 10 });
  const diff = await plugin.diff("box", "image");
  assertEquals((await namesOf(diff)).sort(), [".wh.gone", "added", "changed"]);
  await plugin.layer("committed", diff, "image");
  assertEquals(plugin.mounts().includes(Dir), true);
  await plugin.call("Put", { ID: "box" });
  assertEquals(plugin.mounts(), []);

  const { Metadata } = await plugin.call("GetMetadata", { ID: "committed" });
  assertEquals(Metadata.UpperDir, join(plugin.store, "committed/diff"));
  assertEquals(names(join(plugin.store, "committed/diff")).sort(), ["added", "changed", "gone"]);
  assertMatch(await plugin.refused("Remove", { ID: "image" }), /has children: box, committed; /);
  for (const id of ["box", "committed", "image", "image"]) await plugin.call("Remove", { ID: id });
  assertEquals(await plugin.call("Exists", { ID: "image" }), { Exists: false });
  assertEquals(mountPoints(plugin.home), [plugin.store]);
  await plugin.call("Cleanup");
  assertEquals(mountPoints(plugin.home), []);
  assertEquals(await plugin.process.end(), 0);
  assertEquals(names(plugin.directory.path), ["data"]);
});

needs(lacking, "docker plugin: errors name no command of Veneer's", async () => {
  await using plugin = await TestPlugin.start();
  await plugin.call("Create", { ID: "a" });
  for (
    const [method, fields, status, error] of [
      ["Create", { ID: "a" }, 409, /^layer a exists/],
      ["Create", { ID: "b", Parent: "none" }, 404, /^layer none does not exist$/],
      ["Create", { ID: "../b" }, 400, /id/],
      ["Create", { ID: 7 }, 400, /field ID must be a string/],
      ["Create", {}, 400, /field ID is missing/],
      ["Create", { ID: "b", StorageOpt: { size: 7 } }, 400, /StorageOpt must be an object/],
      ["CreateReadWrite", { ID: "b", StorageOpt: { sized: "7" } }, 400, /sized/],
      ["Get", { ID: "none" }, 404, /^layer none does not exist$/],
      ["Diff", { ID: "none" }, 404, /^layer none does not exist$/],
      ["Changes", { ID: "none" }, 404, /^layer none does not exist$/],
      ["GetMetadata", { ID: "none" }, 404, /^layer none does not exist$/],
      ["Init", { Home: "relative" }, 400, /Home must be an absolute path/],
      ["Init", { Home: plugin.home, Opts: "x" }, 400, /Opts must be a list/],
      ["Init", { Home: plugin.home, UIDMaps: [{ ContainerID: 0 }] }, 400, /UIDMaps/],
      ["Init", { Home: "/elsewhere" }, 412, /keeps the layers at .*veneer, and none at/],
    ] as const
  ) {
    const answer = await plugin.try(method, fields);
    assertMatch(answer.body.Err, error, method);
    assertEquals(answer.status, status, `${method}: ${answer.body.Err}`);
    assertEquals(/`veneer|--/.test(answer.body.Err), false, answer.body.Err);
  }
  assertEquals(await plugin.call("Exists", { ID: "a" }), { Exists: true });
});

needs(lacking, "docker plugin: --root and id maps are refused, because dockerd gives them", () => {
  for (const option of ["--root=/x", "--uidmap=0:1:1", "--gidmap=0:1:1"]) {
    assertMatch(refusal("usage", veneer(option, "serve", "docker")), /dockerd names its value/);
  }
});

needs(lacking, "docker plugin: the last Put unmounts; a Put without a count succeeds", async () => {
  await using plugin = await withContainer();
  const { Dir } = await plugin.call("Get", { ID: "box" });
  assertEquals((await plugin.call("Get", { ID: "box", MountLabel: "other" })).Dir, Dir);
  await plugin.call("Put", { ID: "box" });
  assertEquals(plugin.mounts().includes(Dir), true);
  for (const id of ["box", "box", "none"]) await plugin.call("Put", { ID: id });
  assertEquals(plugin.mounts(), []);
});

needs(
  lacking,
  "docker plugin: a mount that a process uses is detached, and the next Get waits for it",
  async () => {
    await using plugin = await withContainer();
    const { Dir } = await plugin.call("Get", { ID: "box" });
    const process = await processIn(Dir);
    try {
      await plugin.call("Put", { ID: "box" });
      assertEquals(names(join(plugin.store, "box")).includes("merged"), false);
      await plugin.process.said(/EBUSY.*sleep \(pid \d+\)/);
      assertMatch(await plugin.refused("Get", { ID: "box" }), /: sleep \(pid \d+\)$/);
      const waiting = plugin.call("Get", { ID: "box" });
      await process.end("SIGKILL");
      assertEquals((await waiting).Dir, Dir);
    } finally {
      await process.end("SIGKILL");
    }
    await plugin.call("Put", { ID: "box" });
  },
);

needs(lacking, "docker plugin: Remove ends a layer's counts and mounts", async () => {
  await using plugin = await withContainer();
  const { Dir } = await plugin.call("Get", { ID: "box" });
  await plugin.call("Get", { ID: "box" });
  const process = await processIn(Dir);
  try {
    assertMatch(await plugin.refused("Remove", { ID: "image" }), /has children: box; /);
    await plugin.call("Remove", { ID: "box" });
    assertEquals(plugin.mounts(), []);
  } finally {
    await process.end("SIGKILL");
  }
  await plugin.call("Remove", { ID: "image" });
  assertEquals(names(plugin.store).filter((name) => !/^(\.veneer|l)$/.test(name)), []);
});

needs(lacking, "docker plugin: Init counts each mount once, by any program", async () => {
  await using plugin = await withContainer();
  await plugin.call("CreateReadWrite", { ID: "other", Parent: "image" });
  const { Dir } = await plugin.call("Get", { ID: "box" });
  await plugin.call("Get", { ID: "box" });
  const other = await plugin.call("Get", { ID: "other" });
  // Its count is wrong, and another program mounts at its place.
  const layer = join(plugin.store, "other");
  assert(run("umount", other.Dir).success);
  assert(run("mount", "--bind", `${layer}/diff`, other.Dir).success);
  await plugin.init();
  assertEquals((await plugin.call("Get", { ID: "other" })).Dir, other.Dir);
  await plugin.call("Put", { ID: "other" });
  assertEquals(plugin.mounts().includes(other.Dir), true);
  await plugin.call("Put", { ID: "other" });
  assertEquals(plugin.mounts().includes(other.Dir), false);
  assertEquals(plugin.mounts().includes(Dir), true);
  await plugin.call("Put", { ID: "box" });
  assertEquals(plugin.mounts(), []);
});

needs(lacking, "docker plugin: the plugin continues after a restart without an Init", async () => {
  await using plugin = await withContainer();
  const { Dir } = await plugin.call("Get", { ID: "box" });
  await plugin.call("Get", { ID: "box" });
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    await plugin.process.end(signal);
    await plugin.restart();
    assertEquals(plugin.mounts().includes(Dir), true);
    assertEquals(await plugin.call("Exists", { ID: "box" }), { Exists: true });
  }
  await plugin.call("Put", { ID: "box" });
  assertEquals(plugin.mounts().includes(Dir), true);
  await plugin.call("Put", { ID: "box" });
  assertEquals(plugin.mounts(), []);
  // Until a daemon has used the plugin, another daemon may use it.
  await plugin.process.end();
  await plugin.restart();
  await plugin.init({ Home: join(plugin.directory.path, "new/veneer") });
  assertEquals(await plugin.call("Exists", { ID: "box" }), { Exists: false });
});

needs(lacking, "docker plugin: the daemon's options override the command line's", async () => {
  await using plugin = await TestPlugin.bare("overlay2", "-o", "overlay2.mountopt=index=on");
  const { Err } = (await plugin.try("Init", { Home: plugin.home, Opts: ["overlay2.no=1"] })).body;
  assertMatch(Err, /no option overlay2\.no/);
  await plugin.init();
  await plugin.call("Create", { ID: "a" });
  await plugin.call("CreateReadWrite", { ID: "b", Parent: "a" });
  const isIndexed = async () => {
    const { Dir } = await plugin.call("Get", { ID: "b" });
    const { stdout } = run("findmnt", "-no", "OPTIONS", Dir);
    await plugin.call("Put", { ID: "b" });
    return stdout.includes("index=on");
  };
  assertEquals(await isIndexed(), true);
  await plugin.init({ Opts: ["overlay2.mountopt=index=off"] });
  await plugin.call("Remove", { ID: "b" });
  await plugin.call("CreateReadWrite", { ID: "b", Parent: "a" });
  assertEquals(await isIndexed(), false);
});

needs(lacking, "docker plugin: id maps of a daemon in a user namespace", async () => {
  await using plugin = await TestPlugin.bare();
  const map = [{ container_id: 0, host_id: 100000, size: 65536 }];
  await plugin.init({ UIDMaps: map, GIDMaps: map });
  await plugin.layer("image", BASE);
  assertEquals(Deno.statSync(join(plugin.store, "image/diff/kept")).uid, 100000);
  const listed = await namesOf(await plugin.diff("image"));
  assertEquals(listed.sort(), ["./", "changed", "gone", "kept"]);
});

needs(lacking, "docker plugin: a second plugin on the store is refused", async () => {
  await using plugin = await TestPlugin.start();
  await using second = await TestPlugin.bare();
  assertMatch(await second.refused("Init", { Home: plugin.home }), /is in use \(.*pid \d+\)/);
});
