/** Snapshots and layers that are mounted with ids mapped. */
// @runs on btrfs
import { assertEquals, assertMatch } from "@std/assert";
import { isKernelAtLeast } from "../../../lib/base/kernel.ts";
import { lacksProgram, mountPoints, needs, run } from "../../support/cases.ts";
import { PROGRAM, refusal, StoreCommands } from "../../support/commands.ts";
import { isThere } from "../../support/files.ts";
import { storeDir } from "../../support/store_dir.ts";
import { listed, MAPS, ownedTar, owners, useAs, USED } from "../shared/idmap.ts";
import { lacking } from "./support.ts";

const old = isKernelAtLeast(5, 15) ? undefined : "btrfs maps ids since Linux 5.15";

/** A store whose subvolumes are deleted with it. */
class BtrfsStore extends StoreCommands implements Disposable {
  readonly #directory = storeDir();
  readonly root = this.path("root");
  readonly options = ["--root", this.root, "--driver", "btrfs"];

  path(name: string): string {
    return `${this.#directory.path}/${name}`;
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

needs(lacking ?? old, "btrfs: a snapshot is mounted with ids of any map", () => {
  using store = new BtrfsStore();
  store.must("snapshot", "prepare", "work");
  store.must("snapshot", "apply", "work", ownedTar(store));
  store.must("snapshot", "commit", "image", "work");
  for (const [map, root] of MAPS) {
    const key = `c${root}`;
    store.must("snapshot", "prepare", "--parent", "image", key);
    useAs(root, store.must("snapshot", "mount", "--idmap", map, key).trimEnd());
    store.must("snapshot", "umount", key);
    const tar = store.path(`${key}.tar`);
    store.must("snapshot", "diff", "-o", tar, key);
    assertEquals(listed(tar), USED);
  }
  assertEquals(mountPoints(store.root), []);
});

needs(lacking ?? old, "btrfs: a layer is mounted with ids of any map beside the store", () => {
  using store = new BtrfsStore();
  store.must("create", "base");
  store.must("apply", "base", ownedTar(store));
  for (const [map, root] of MAPS) {
    const id = `c${root}`, tar = store.path(`${id}.tar`);
    store.must("create", "--parent", "base", id);
    const path = store.must("mount", "--idmap", map, id).trimEnd();
    useAs(root, path);
    assertEquals(store.must("mount", "--idmap", map, id).trimEnd(), path, "counted");
    const plain = refusal("in use", store.run("mount", id));
    assertMatch(plain, /with the id map .* was requested without an id map/);
    // The layer's own path is not that of the mount.
    store.must("diff", "-o", tar, id);
    assertEquals(listed(tar), USED);
    assertMatch(refusal("in use", store.run("rm", id)), /is mounted at .* \(2 uses\)/);
    store.must("umount", id);
    store.must("umount", id);
    assertEquals(isThere(path), false);
    const own = store.must("mount", id).trimEnd();
    assertEquals(owners(own, "new/file"), ["0:0"]);
    store.must("umount", id);
    store.must("rm", id);
  }
  store.must("mount", "--read-only", "--idmap", MAPS[0][0], "base");
  store.must("umount", "base");
  assertEquals(mountPoints(store.root), []);
});

needs(
  lacking ?? old ?? lacksProgram("strace"),
  "btrfs: nothing is left of a mount that is killed",
  () => {
    using store = new BtrfsStore();
    store.must("create", "app");
    for (const point of ["mount_setattr:when=1", "setns:when=1", "move_mount:when=2"]) {
      const [call, when] = point.split(":");
      const inject = ["strace", "-o", "/dev/null", "-e", `inject=${call}:signal=KILL:${when}`];
      const words = [...PROGRAM, ...store.options, "mount", "--idmap", MAPS[1][0], "app"];
      if (run("timeout", "300", ...inject, ...words).success) store.must("umount", "app");
      const path = store.must("mount", "--idmap", MAPS[0][0], "app").trimEnd();
      assertEquals(owners(path, "."), ["100000:100000"], point);
      store.must("umount", "app");
      assertEquals(isThere(path), false, point);
      assertEquals(mountPoints(store.root), [], point);
    }
    store.must("rm", "app");
  },
);
