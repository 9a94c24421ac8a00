/** A store on a read-only file system, as of a failing disk or a backup: all of it can be read. */
// @runs on ext4, xfs, btrfs, guest ext4
import { assertEquals, assertStringIncludes } from "@std/assert";
import type { OpenOptions } from "../../../drivers/registry.ts";
import { openDriver } from "../../support/drivers.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type ImageKind, mountImage } from "../../runner/images.ts";
import { lacksFileSystem, must, needs, tempDir } from "../../support/cases.ts";
import { diff, fill } from "../../support/layers.ts";
import { lines } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";

const IMAGES: readonly [kind: ImageKind, mebibytes: number, driver: string, lacking?: string][] = [
  ["ext4", 64, "overlay2", lacksFileSystem("overlay")],
  ["xfs", 320, "overlay2", lacksFileSystem("xfs") ?? lacksFileSystem("overlay")],
  ["btrfs", 200, "btrfs", lacksFileSystem("btrfs")],
];

/** What a case gets: how its store is opened, a directory beside it, and what was warned of. */
interface Subject {
  readonly options: OpenOptions;
  readonly scratch: string;
  readonly warnings: string[];
  remount(access: "ro" | "rw"): void;
}

function cases(name: string, body: (subject: Subject) => void): void {
  for (const [kind, mebibytes, driver, lacking] of IMAGES) {
    needs(lacking, `${driver} on a read-only ${kind}: ${name}`, () => {
      using dir = tempDir();
      using image = mountImage(kind, dir.path, mebibytes << 20);
      const { mountPoint } = image;
      const warnings: string[] = [];
      const warn = (message: string) => warnings.push(message);
      const root = `${mountPoint}/root`;
      body({
        options: { root, driver, options: [], idMaps: IDENTITY, warn },
        scratch: dir.path,
        warnings,
        remount: (access) => must("mount", "-o", `remount,${access}`, mountPoint),
      });
    });
  }
}

cases("layers are read, and nothing is changed", (subject) => {
  const { options, scratch, warnings } = subject;
  const before = openDriver(options);
  fill(before, "base", (root) => Deno.writeTextFileSync(`${root}/file`, "of base"));
  fill(before, "app", (root) => {
    Deno.removeSync(`${root}/file`);
    Deno.writeTextFileSync(`${root}/new`, "of app");
  }, "base");
  before.create("top", { parent: "app" });
  const read = (driver: GraphDriver) => ({
    layers: driver.layers(),
    changes: ["base", "app", "top"].map((id) => lines(driver.changes(id, undefined))),
    whole: lines(driver.changes("app", "")),
    further: lines(driver.changes("top", "base")),
    size: driver.diffSize("app", undefined),
    tars: [undefined, "", "base"].map((parent) =>
      Deno.readFileSync(diff(driver, "app", parent, scratch))
    ),
  });
  const expected = read(before);
  before.cleanup();

  subject.remount("ro");
  const driver = openDriver(options);
  assertEquals(read(driver), expected);
  assertEquals(driver.status().length > 0, true);
  assertEquals(driver.layer("app").parent, "base");
  for (const id of ["base", "app"]) {
    const root = driver.get(id, { readOnly: true });
    const [file, text] = id === "base" ? ["file", "of base"] : ["new", "of app"];
    assertEquals(Deno.readTextFileSync(`${root}/${file}`), text);
    assertEquals(driver.get(id, { readOnly: true }), root);
    driver.put(id);
    driver.put(id);
    assertEquals(driver.layer(id).mountPoint, undefined);
  }
  const writing: (() => unknown)[] = [
    () => driver.create("x", { parent: "base" }),
    () => driver.createReadWrite("x"),
    () => driver.remove("top"),
    () => driver.applyDiff("top", undefined, 0),
    ...(options.driver === "overlay2" ? [() => driver.get("top")] : []),
  ];
  for (const write of writing) {
    assertStringIncludes(
      assertFails("failed precondition", () => void write()).message,
      `${driver.home} is on a read-only file system`,
    );
  }
  assertEquals([driver.cleanup(), warnings], [[], []]);
  subject.remount("rw");
  const after = openDriver(options);
  after.remove("top");
  after.create("x", { parent: "base" });
});

cases("snapshots are read, and nothing is changed", (subject) => {
  const { options, scratch, warnings } = subject;
  const target = `${scratch}/target`;
  Deno.mkdirSync(target);
  const before = openSnapshotter(options);
  before.prepare("key", "");
  const { layer } = before.stat("key");
  const content = options.driver === "btrfs"
    ? `active/${layer.slice("active.".length)}`
    : `snapshots/${layer}/fs`;
  Deno.writeTextFileSync(`${before.home}/${content}/file`, "content");
  before.commit("base", "key");
  before.prepare("active", "base", { labels: new Map([["a", "b"]]) });
  before.view("view", "base");
  const expected = [...before.walk()];
  before.close();

  subject.remount("ro");
  const snapshots = openSnapshotter(options);
  assertEquals([...snapshots.walk()], expected);
  assertEquals([...snapshots.walk(["kind==active"])].map(({ name }) => name), ["active"]);
  assertEquals(snapshots.stat("active").parent, "base");
  assertEquals(snapshots.usage("base").inodes > 0, true);
  for (const key of ["view", "active"]) assertEquals(snapshots.mounts(key).length, 1);
  snapshots.mount("view", target);
  assertEquals(Deno.readTextFileSync(`${target}/file`), "content");
  snapshots.unmountAt(target);
  const writing: (() => unknown)[] = [
    () => snapshots.prepare("new", "base"),
    () => snapshots.view("new", "base"),
    () => snapshots.commit("new", "active"),
    () => snapshots.remove("view"),
    () => snapshots.update({ name: "base", labels: new Map() }),
  ];
  for (const write of writing) {
    const { message } = assertFails("failed precondition", () => void write());
    assertStringIncludes(message, "read-only file system");
  }
  assertEquals([snapshots.cleanup(), warnings], [[], []]);
  snapshots.close();

  // What a killed process had only in the log is left out, and that is said.
  subject.remount("rw");
  const script = `import { DatabaseSync } from "node:sqlite";
    new DatabaseSync(Deno.args[0]).exec("UPDATE snapshots SET updated = updated + 1");
    Deno.kill(Deno.pid, "SIGKILL");`;
  const database = `${before.home}/metadata.db`;
  new Deno.Command(Deno.execPath(), { args: ["eval", script, database] }).outputSync();
  subject.remount("ro");
  const last = openSnapshotter(options);
  assertEquals([...last.walk()], expected);
  last.close();
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0], `${database}: the last changes are in metadata.db-wal`);
});
