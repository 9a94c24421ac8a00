/** Layers and snapshots that are mounted with ids mapped: each has a file system of its own that does so. */
// @runs on guest ext4
// @runs long on guest xfs
import { assertEquals } from "@std/assert";
import { isKernelAtLeast } from "../../../lib/base/kernel.ts";
import { mountPoints, needs } from "../../support/cases.ts";
import { TestStore } from "../../support/commands.ts";
import { listed, MAPS, ownedTar, owners, useAs, USED } from "../shared/idmap.ts";
import { lacking, SMALL } from "./support.ts";

const old = isKernelAtLeast(5, 12) ? undefined : "mounts map ids since Linux 5.12";

const open = () =>
  new TestStore("--driver", "devicemapper", ...SMALL.flatMap((option) => ["-o", option]));

needs(lacking ?? old, "devicemapper: layers are mounted with ids of any map", () => {
  using store = open();
  store.must("create", "bottom");
  store.must("apply", "bottom", ownedTar(store));
  for (const [map, root] of MAPS) {
    const id = `c${root}`, tar = store.path(`${id}.tar`);
    store.must("create", "--parent", "bottom", id);
    useAs(root, store.must("mount", "--idmap", map, id).trimEnd());
    store.must("umount", id);
    store.must("diff", "-o", tar, id);
    assertEquals(listed(tar), USED);
  }
  // The first mount of all makes the root, as this machine's root.
  store.must("create", "empty");
  const path = store.must("mount", "--idmap", MAPS[0][0], "empty").trimEnd();
  assertEquals(owners(path, "."), ["100000:100000"]);
  store.must("umount", "empty");
  assertEquals(mountPoints(store.root), []);
});

needs(lacking ?? old, "devicemapper: a snapshot is mounted with ids mapped", () => {
  using store = open();
  store.must("snapshot", "prepare", "work");
  store.must("snapshot", "apply", "work", ownedTar(store));
  store.must("snapshot", "commit", "image", "work");
  const [map, root] = MAPS[0];
  store.must("snapshot", "prepare", "--parent", "image", "c");
  useAs(root, store.must("snapshot", "mount", "--idmap", map, "c").trimEnd());
  store.must("snapshot", "umount", "c");
  const plain = store.must("snapshot", "mount", "c").trimEnd();
  assertEquals(owners(plain, ".", "new/file"), ["0:0", "0:0"]);
  store.must("snapshot", "umount", "c");
  for (const key of ["c", "image"]) store.must("snapshot", "rm", key);
  store.must("snapshot", "cleanup");
  assertEquals(mountPoints(store.root), []);
});
