/** Mounts that map ids: one layer for containers of any map, whose files stay the image's on disk. */
// @runs on ext4, xfs
import { assertEquals, assertMatch } from "@std/assert";
import { isKernelAtLeast } from "../../../lib/base/kernel.ts";
import {
  lacksFileSystem,
  lacksProgram,
  mountPoints,
  needs,
  run,
  TEST_FS,
} from "../../support/cases.ts";
import { PROGRAM, refusal, TestStore } from "../../support/commands.ts";
import { as, listed, MAPS, ownedTar, owners, useAs, USED } from "../shared/idmap.ts";

const lacking = lacksFileSystem("overlay") ??
  (isKernelAtLeast(5, 19) ? undefined : "overlay maps ids since Linux 5.19");
const DRIVER = ["--driver", "overlay2"];
const MAP = "0:100000:65536";

/** A store with a base layer of owned files. */
function storeWithBase(): TestStore {
  const store = new TestStore(...DRIVER);
  store.must("create", "base");
  store.must("apply", "base", ownedTar(store));
  return store;
}

needs(lacking, "overlay2: layers on one base are mounted with ids of any map", () => {
  using store = storeWithBase();
  for (const [map, root] of MAPS) {
    const id = `c${root}`;
    store.must("create", "--parent", "base", id);
    const path = store.must("mount", "--idmap", map, id).trimEnd();
    useAs(root, path);
    assertEquals(store.must("mount", "--idmap", map, id).trimEnd(), path, "counted");
    store.must("umount", id);
    store.must("umount", id);
    // On disk the ids are the image's, so that a tar has them, and a mount without a map.
    const tar = store.path(`${id}.tar`);
    store.must("diff", "-o", tar, id);
    assertEquals(listed(tar), USED);
    const plain = store.must("mount", "--read-only", id).trimEnd();
    assertEquals(owners(plain, ".", "etc/motd", "new/file"), Array(3).fill("0:0"));
    store.must("umount", id);
  }
  assertEquals(store.must("check").includes("no damage"), true);
});

needs(lacking, "overlay2: a base layer is mounted with ids mapped, and read-only", () => {
  using store = storeWithBase();
  const path = store.must("mount", "--idmap", MAP, "base").trimEnd();
  useAs(100_000, path);
  store.must("umount", "base");
  assertEquals(mountPoints(store.root), []);
  const again = store.must("mount", "--read-only", "--idmap", MAP, "base").trimEnd();
  assertEquals(owners(again, "etc/motd", "new/file"), Array(2).fill("100000:100000"));
  assertMatch(as(100_000, again, "echo >etc/x").stderr, /Read-only file system/);
  store.must("umount", "base");
});

needs(lacking, "overlay2: users of a mount agree on its map, and transfers want none", () => {
  using store = storeWithBase();
  store.must("create", "--parent", "base", "app");
  store.must("mount", "--idmap", MAP, "app");
  const refused = (...args: string[]) => refusal("in use", store.run(...args));
  assertMatch(refused("mount", "app"), /with the id map 0:100000:65536 0:100000:65536 .* without/);
  assertMatch(refused("mount", "--idmap", "0:5:9", "app"), /was requested with the id map 0:5:9/);
  store.must("umount", "app");
  store.must("mount", "app");
  assertMatch(refused("mount", "--idmap", MAP, "app"), /without an id map and was requested with/);
  store.must("umount", "app");
});

needs(lacking, "overlay2: a snapshot, and a view, are mounted with ids mapped", () => {
  using store = new TestStore(...DRIVER);
  store.must("snapshot", "prepare", "work");
  store.must("snapshot", "apply", "work", ownedTar(store));
  store.must("snapshot", "commit", "image", "work");
  for (const [map, root] of MAPS) {
    const key = `c${root}`, at = store.path(`at${root}`);
    store.must("snapshot", "prepare", "--parent", "image", key);
    Deno.mkdirSync(at);
    store.must("snapshot", "mount", "--idmap", map, key, at);
    useAs(root, at);
    store.must("snapshot", "umount", at);
    const tar = store.path(`${key}.tar`);
    store.must("snapshot", "diff", "-o", tar, key);
    assertEquals(listed(tar), USED);
    store.must("snapshot", "view", "--parent", "image", `v${root}`);
    const seen = store.must("snapshot", "mount", "--idmap", map, `v${root}`).trimEnd();
    const home = root === 100_000 ? 300_000 : root + 1000;
    assertEquals(owners(seen, ".", "home").map((owner) => owner.split(":")[0]), [
      `${root}`,
      `${home}`,
    ]);
    store.must("snapshot", "umount", `v${root}`);
    store.must("snapshot", "commit", `image${root}`, key);
  }
  assertEquals(mountPoints(store.root), []);
});

needs(lacking, "overlay2: what cannot be mapped is refused in a line", () => {
  using store = storeWithBase();
  const mount = (...maps: string[]) =>
    store.run("mount", ...maps.flatMap((map) => ["--idmap", map]), "base");
  const invalid = (...maps: string[]) => refusal("invalid argument", mount(...maps));
  assertMatch(invalid("0:1:2,1:9:1"), /its container ids overlap/);
  assertMatch(invalid("5:100000:10"), /it maps no id 0/);
  assertMatch(invalid("u:0:100000:10"), /the id map has no ranges|it maps no id 0/);
  assertMatch(invalid("x"), /it must be CONTAINER:HOST:SIZE/);
  const many = (count: number) => Array.from({ length: count }, (_, i) => `${i}:${i + 70_000}:1`);
  assertMatch(invalid(many(341).join()), /341 ranges/);
  assertMatch(invalid(many(300).join()), /the mount's id map has \d+ bytes/);
  const maps = ["--uidmap", MAP, "--gidmap", MAP];
  store.must(...maps, "create", "--parent", "base", "mapped");
  const twice = refusal("failed precondition", store.run("mount", "--idmap", MAP, "mapped"));
  assertMatch(twice, /was made with an id map/);
  assertEquals(mountPoints(store.root), []);
});

/** It makes no difference there. */
const elsewhere = TEST_FS.startsWith("xfs") ? "it is run on ext4" : undefined;

needs(
  lacking ?? elsewhere ?? lacksProgram("strace"),
  "overlay2: nothing is left of a mount that is killed",
  () => {
    using store = storeWithBase();
    store.must("create", "--parent", "base", "app");
    const points = [
      "write:when=1",
      "open_tree:when=1",
      "mount_setattr:when=1",
      "move_mount:when=1",
    ];
    points.push("unshare:when=2", "fsmount:when=1", "open_tree:when=2", "setns:when=1");
    points.push("move_mount:when=2", "fchdir:when=1");
    let killed = 0;
    for (const point of points) {
      const [call, when] = point.split(":");
      const inject = ["strace", "-o", "/dev/null", "-e", `inject=${call}:signal=KILL:${when}`];
      const words = [...PROGRAM, ...store.options, "mount", "--idmap", MAP, "app"];
      if (run("timeout", "300", ...inject, ...words).success) store.must("umount", "app");
      else killed++;
      const path = store.must("mount", "app").trimEnd();
      assertEquals(owners(path, "etc/motd"), ["0:0"], point);
      assertEquals(mountPoints(store.root).filter((at) => at === path).length, 1, point);
      store.must("umount", "app");
      assertEquals(mountPoints(store.root), [], point);
    }
    assertEquals(killed >= points.length - 2, true, `${killed} of ${points.length} were killed`);
  },
);
