/** What the btrfs driver does beside the contract: its layout, nested subvolumes, labels, records. */
// @runs on ext4, btrfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { statSync } from "node:fs";
import * as btrfs from "../../../drivers/btrfs/driver.ts";
import { openDriver } from "../../support/drivers.ts";
import { createSubvolume } from "../../../ffi/btrfs_subvolume.ts";
import { decode, encode } from "../../../ffi/cstring.ts";
import { entryName } from "../../../ffi/entry_name.ts";
import { close, O_DIRECTORY, O_RDONLY, open, openat, withFd } from "../../../ffi/files.ts";
import { mkdirat } from "../../../ffi/names.ts";
import { entryPath, lgetxattr, lsetxattr } from "../../../ffi/xattr.ts";
import { IDENTITY, IdMap } from "../../../lib/base/id_maps.ts";
import { must, needs } from "../../support/cases.ts";
import { directory, storeCase } from "./support.ts";
import { diff, fill, treeOf } from "../../support/layers.ts";
import { lines } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";
import { openDescriptors } from "../../support/files.ts";

/** The subvolumes of a store, wherever in it they lie. */
function subvolumesIn(home: string): string[] {
  const case_ = home.split("/").at(-3)!; // The case's own directory.
  return must("btrfs", "subvolume", "list", directory).split("\n")
    .filter((line) => line.includes(`${case_}/`));
}

function makeSubvolumes(root: string, names: readonly string[]): void {
  withFd(open(root, O_RDONLY | O_DIRECTORY), (fd) => {
    for (const name of names) createSubvolume(fd, entryName(name));
  });
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

needs(undefined, "btrfs: another file system is named", () => {
  const root = "/dev/shm/veneer-not-btrfs"; // tmpfs on every machine.
  const open = () =>
    openDriver({ root, driver: "btrfs", options: [], idMaps: IDENTITY, warn: () => {} });
  const error = assertFails("incompatible", open);
  assertMatch(error.message, /^prerequisite: .*\/dev\/shm is on tmpfs/);
  assertThrows(() => Deno.statSync(root), Deno.errors.NotFound);
  assertEquals(btrfs.examine(root).map(({ state }) => state), ["missing"]);
});

storeCase(
  "the home is root's, and container root's group passes through to the layers",
  (store) => {
    const ids = new IdMap([{ container: 0, host: 100_000, size: 65_536 }]);
    const { home } = store.driver([], { uids: ids, gids: ids });
    for (const path of [home, `${home}/subvolumes`]) {
      const { mode, uid, gid } = statSync(path);
      assertEquals([mode & 0o7777, uid, gid], [0o710, 0, 100_000], path);
    }
    const { mode, uid, gid } = statSync(`${home}/quotas`);
    assertEquals([mode & 0o7777, uid, gid], [0o700, 0, 0]);
    store.driver(); // Nobody else could write to it: it opens without the maps, too.
  },
);

storeCase("a layer that others made by hand", (store, dir) => {
  const home = `${store.root}/btrfs`;
  for (const name of ["subvolumes", "quotas"]) {
    Deno.mkdirSync(`${home}/${name}`, { recursive: true });
  }
  must("btrfs", "subvolume", "create", `${home}/subvolumes/base`);
  Deno.writeTextFileSync(`${home}/subvolumes/base/file`, "by hand");
  must("btrfs", "subvolume", "snapshot", `${home}/subvolumes/base`, `${home}/subvolumes/child`);
  must(
    "btrfs",
    "subvolume",
    "snapshot",
    "-r",
    `${home}/subvolumes/base`,
    `${home}/subvolumes/read-only`,
  );
  Deno.writeTextFileSync(`${home}/subvolumes/child/new`, "");
  Deno.writeTextFileSync(`${home}/quotas/child`, "1073741824");

  const driver = openDriver({
    root: store.root,
    driver: "auto",
    options: ["btrfs.quota=off"],
    idMaps: IDENTITY,
    warn: () => {},
  });
  assertEquals(driver.name, "btrfs");
  assertEquals(driver.layers().map(({ id, parent }) => [id, parent]), [
    ["base", undefined],
    ["child", undefined],
    ["read-only", undefined],
  ]);
  assertEquals(driver.getMetadata("child").get("Size"), "1073741824");
  // Whose snapshot a layer is protects its origin, for the program that made both.
  assertMatch(
    assertFails("in use", () => driver.remove("base")).message,
    /^layer base has children: child, read-only;/,
  );
  // Nothing says what the parent is, so it has to be named, and the trees are compared.
  assertFails("invalid argument", () => lines(driver.changes("child", undefined)));
  assertEquals(lines(driver.changes("child", "base")), ["A /new"]);
  driver.create("grandchild", { parent: "child" });
  assertEquals([...treeOf(driver, "grandchild").keys()], ["/file", "/new"]);
  assertEquals(lines(driver.changes("grandchild", undefined)), []);
  driver.create("copy", { parent: "read-only" });
  fill(driver, "more", (root) => Deno.writeTextFileSync(`${root}/more`, ""), "copy");
  assert(Deno.statSync(diff(driver, "more", undefined, dir.path)).size > 1024);
  for (const id of ["more", "copy", "read-only", "grandchild", "child", "base"]) driver.remove(id);
  assertEquals(driver.layers(), []);
  assertEquals(subvolumesIn(home), []);
  assertEquals([...Deno.readDirSync(`${home}/quotas`)], []);
});

storeCase("nested subvolumes go with a layer, deep, read-only and many", (store) => {
  const driver = store.driver();
  driver.create("base");
  driver.create("layer", { parent: "base" });
  const root = driver.get("layer");
  Deno.mkdirSync(`${root}/a directory/below`, { recursive: true });
  let path = `${root}/a directory/below`;
  const nested: string[] = [];
  for (let depth = 0; depth < 3; depth++) {
    path += `/nested ${depth}`;
    must("btrfs", "subvolume", "create", path);
    nested.push(path);
    Deno.writeTextFileSync(`${path}/file`, "x");
    must("btrfs", "subvolume", "snapshot", "-r", path, `${path}-read-only`);
    path += "/inside";
    Deno.mkdirSync(path);
  }
  // Deeper than any path can name.
  const deep = `/${"d".repeat(250)}`.repeat(9);
  Deno.mkdirSync(root + deep, { recursive: true });
  makeSubvolumes(root + deep, ["far"]);
  must("btrfs", "subvolume", "create", `${root}${deep}/far/farther`);
  must("btrfs", "property", "set", "-ts", `${root}${deep}/far`, "ro", "true");
  const below = `/${"e".repeat(250)}`.repeat(9);
  Deno.mkdirSync(root + below, { recursive: true });
  Deno.renameSync(`${root}/${"d".repeat(250)}`, `${root}${below}/moved`);
  makeSubvolumes(root, numbers(300));
  for (const subvolume of [nested[1], nested[0], `${root}/7`]) {
    must("btrfs", "property", "set", "-ts", subvolume, "ro", "true");
  }
  driver.put("layer");
  // What lies in a nested subvolume is part of the layer; a snapshot would not have it.
  assert(lines(driver.changes("layer", undefined)).includes("A /a directory/below/nested 0/file"));
  driver.remove("layer");
  assertEquals(subvolumesIn(driver.home).length, 1);
  driver.remove("base");
  assertEquals(subvolumesIn(driver.home), []);
});

storeCase("a layer that is mounted for reading is built on, read and removed", (store, dir) => {
  const driver = store.driver();
  fill(driver, "base", (root) => Deno.writeTextFileSync(`${root}/base`, ""));
  fill(driver, "layer", (root) => Deno.writeTextFileSync(`${root}/new`, ""), "base");
  for (const id of ["base", "layer"]) driver.get(id, { readOnly: true });
  driver.create("child", { parent: "layer" });
  assertEquals([...treeOf(driver, "child").keys()], ["/base", "/new"]);
  assertEquals(lines(driver.changes("layer", undefined)), ["A /new"]);
  assert(Deno.statSync(diff(driver, "layer", undefined, dir.path)).size > 1024);
  driver.remove("child");
  // Without children it would be mounted writable.
  assertFails("in use", () => driver.get("layer"));
  for (const id of ["base", "layer"]) driver.put(id);
  Deno.writeTextFileSync(`${driver.get("layer")}/more`, "");
  driver.put("layer");
  for (const id of ["layer", "base"]) driver.remove(id);
  driver.cleanup();
});

storeCase("an interrupted removal is finished by the next open", (store) => {
  const driver = store.driver(), backend = store.backend();
  fill(driver, "layer", (root) => must("btrfs", "subvolume", "create", `${root}/nested`));
  driver.create("other");
  backend.retire("layer");
  assert(!driver.exists("layer"));
  assertEquals(subvolumesIn(driver.home).length, 3);
  store.driver();
  assertEquals(subvolumesIn(driver.home).length, 1);
  driver.create("layer");
  assertEquals([...treeOf(driver, "layer")], []);
});

storeCase("what a killed diff left is swept, what a diff uses is not", (store) => {
  const driver = store.driver();
  driver.create("base");
  fill(driver, "layer", (root) => {
    for (let i = 0; i < 3; i++) Deno.writeTextFileSync(`${root}/${i}`, "");
  }, "base");
  const changes = driver.changes("layer", undefined)[Symbol.iterator]();
  assertEquals(changes.next().value, { kind: "A", path: "/0" });
  assertEquals(subvolumesIn(driver.home).length, 3);
  store.driver();
  assertEquals(subvolumesIn(driver.home).length, 3);
  assertEquals([changes.next(), changes.next()].map(({ value }) => value?.path), ["/1", "/2"]);
  assert(changes.next().done);
  assertEquals(subvolumesIn(driver.home).length, 2);
  // As a kill leaves it: staged, and locked by nobody.
  store.backend().nativeDiff("layer", () => ".killed");
  assertEquals(subvolumesIn(driver.home).length, 3);
  store.driver();
  assertEquals(subvolumesIn(driver.home).length, 2);
});

storeCase("two removals of one layer at once", async (store) => {
  const driver = store.driver();
  for (let round = 0; round < 5; round++) {
    fill(driver, "layer", (root) => makeSubvolumes(root, numbers(20)));
    const outcomes = await Promise.all([removeElsewhere(store.root), removeElsewhere(store.root)]);
    assertEquals(outcomes.toSorted(), ["layer layer does not exist", "removed"], `round ${round}`);
    assertEquals(subvolumesIn(driver.home), []);
  }
});

/** Removes the layer `layer` in a process of its own; what came of it. */
async function removeElsewhere(root: string): Promise<string> {
  const script = `
    import { openDriver } from "${import.meta.resolve("../../support/drivers.ts")}";
    import { IDENTITY } from "${import.meta.resolve("../../../lib/base/id_maps.ts")}";
    const root = ${JSON.stringify(root)};
    const driver = openDriver({ root, driver: "btrfs", options: [], idMaps: IDENTITY, warn() {} });
    try {
      driver.remove("layer");
      console.log("removed");
    } catch (error) {
      console.log(error.message.split(";")[0]);
    }`;
  const config = import.meta.resolve("../../../deno.json").slice("file://".length);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", "--quiet", "--config", config, "--ext=ts", "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  await new Blob([script]).stream().pipeTo(child.stdin);
  const { stdout } = await child.output();
  return new TextDecoder().decode(stdout).trim();
}

storeCase("a plain directory in a layer's place is named, and removed", (store) => {
  const driver = store.driver();
  Deno.mkdirSync(`${driver.home}/subvolumes/plain/below`, { recursive: true });
  const error = assertFails("corrupt store", () => driver.getMetadata("plain"));
  assertMatch(error.message, /subvolumes\/plain is a directory, not a subvolume/);
  assertFails("corrupt store", () => driver.create("child", { parent: "plain" }));
  driver.remove("plain");
  assertEquals(driver.layers(), []);
});

storeCase("a mount label is on everything, links not followed", (store) => {
  const driver = store.driver();
  fill(driver, "base", (root) => {
    Deno.mkdirSync(`${root}/directory/below`, { recursive: true });
    Deno.writeTextFileSync(`${root}/directory/below/file`, "");
    Deno.writeTextFileSync(`${store.root}/outside`, "");
    Deno.symlinkSync(`${store.root}/outside`, `${root}/link`);
  });
  const mountLabel = "system_u:object_r:container_file_t:s0:c1,c2";
  driver.createReadWrite("labelled", { parent: "base", mountLabel });
  const label = (path: string) => {
    const value = lgetxattr(path, "security.selinux");
    return value && decode(value);
  };
  const root = driver.get("labelled");
  for (const path of ["", "/directory", "/directory/below", "/directory/below/file", "/link"]) {
    assertEquals(label(root + path), `${mountLabel}\0`, path);
  }
  driver.put("labelled");
  for (const path of [`${store.root}/outside`, `${driver.home}/subvolumes/base/link`]) {
    assertEquals(label(path), undefined);
  }
});

/** Goes down so many directories `d`, one in the other, and does something in each. */
function inEach(root: string, depth: number, use: (directory: number) => void): void {
  let fd = open(root, O_RDONLY | O_DIRECTORY);
  for (let i = 0;; i++) {
    use(fd);
    if (i === depth) break;
    const below = openat(fd, entryName("d"), O_RDONLY | O_DIRECTORY);
    close(fd);
    fd = below;
  }
  close(fd);
}

storeCase("a mount label is on everything in 5000 levels of directories", (store) => {
  const DEPTH = 5000;
  const driver = store.driver();
  const names = ["d", "before", "zoo"].map((name) => entryName(name));
  fill(driver, "base", (root) => {
    inEach(root, DEPTH, (directory) => names.forEach((name) => mkdirat(directory, name, 0o755)));
  });
  const mountLabel = "system_u:object_r:container_file_t:s0:c1,c2";
  const before = openDescriptors();
  driver.create("labelled", { parent: "base", mountLabel });
  assertEquals(openDescriptors(), before);
  let labelled = 0;
  inEach(driver.get("labelled"), DEPTH, (directory) => {
    for (const name of names) {
      const value = lgetxattr(entryPath(directory, name), "security.selinux");
      if (value && decode(value) === `${mountLabel}\0`) labelled++;
    }
  });
  assertEquals(labelled, names.length * (DEPTH + 1));
  driver.put("labelled");
});

storeCase(
  "what overlays in a container left on its directories means nothing here",
  (store, dir) => {
    const driver = store.driver();
    driver.create("base");
    const leave = (root: string) => {
      Deno.mkdirSync(`${root}/moved`);
      lsetxattr(`${root}/moved`, "trusted.overlay.redirect", encode("/elsewhere"));
      lsetxattr(`${root}/moved`, "trusted.overlay.opaque", encode("y"));
      Deno.writeTextFileSync(`${root}/moved/file`, "content");
      lsetxattr(`${root}/moved/file`, "trusted.overlay.metacopy", encode(""));
    };
    fill(driver, "child", leave, "base");
    fill(driver, "other", () => {});
    for (const parent of [undefined, "base", "other", ""]) {
      assertEquals(lines(driver.changes("child", parent)), ["A /moved", "A /moved/file"]);
      const tar = diff(driver, "child", parent, dir.path);
      assertEquals(must("tar", "-tf", tar), "moved/\nmoved/file\n");
      assert(!decode(Deno.readFileSync(tar)).includes("overlay"));
    }
  },
);

storeCase(
  "layers recorded to stand on themselves are listed, refused and removed",
  (store, dir) => {
    const driver = store.driver();
    for (const id of ["base", "self", "x", "y"]) driver.create(id);
    driver.create("onx", { parent: "x" });
    const { home } = store.backend();
    home.recordParent("self", "self");
    home.recordParent("x", "y");
    home.recordParent("y", "x");
    const parents = () => driver.layers().map(({ id, parent }) => `${id} ${parent}`);
    assertEquals(parents(), ["base ", "onx x", "self undefined", "x undefined", "y undefined"]);
    assertEquals(store.warnings.length, 3);
    const told = (id: string) =>
      assertFails("corrupt store", () => diff(driver, id, undefined, dir.path));
    assertMatch(told("self").message, /layer self is recorded to stand on itself; remove it/);
    assertMatch(
      told("x").message,
      /layer x is recorded to stand on y, which stands on x; remove it/,
    );
    assertEquals(lines(driver.changes("x", "")), []);
    assertFails("in use", () => driver.remove("x"));
    for (const id of ["self", "y", "onx", "x", "base"]) driver.remove(id);
    assertEquals(driver.layers(), []);
  },
);

storeCase("metadata and status are the kernel's own words", (store) => {
  const driver = store.driver();
  driver.create("base");
  driver.create("child", { parent: "base" });
  const shown = must("btrfs", "subvolume", "show", `${driver.home}/subvolumes/child`);
  const field = (name: string) => new RegExp(`${name}:\\s+(\\S+)`).exec(shown)?.[1];
  const metadata = driver.getMetadata("child");
  assertEquals(metadata.get("UUID"), field("UUID"));
  assertEquals(metadata.get("ParentUUID"), field("Parent UUID"));
  assertEquals(metadata.get("SubvolumeId"), field("Subvolume ID"));
  assertEquals(metadata.get("Generation"), field("Generation"));
  assertEquals(metadata.get("ParentUUID"), driver.getMetadata("base").get("UUID"));
  assert(!driver.getMetadata("base").has("ParentUUID"));

  const status = new Map(driver.status());
  const uuid = must("findmnt", "-no", "UUID", "-T", driver.home).trim();
  assertEquals(status.get("Filesystem UUID"), uuid);
  assertMatch(status.get("Features") ?? "", /\bextended_iref\b.*\bskinny_metadata\b/);
  assertMatch(status.get("Generation") ?? "", /^[1-9]\d*$/);
  assertMatch(
    status.get("Metadata Space Used") ?? "",
    /^[\d.]+ [KM]iB of [\d.]+ [MG]iB set aside$/,
  );
});
