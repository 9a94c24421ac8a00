/** Snapshots that are mounted with ids mapped, and layers, which have no mounts to be. */
// @runs on btrfs
import { assertEquals, assertMatch } from "@std/assert";
import { isKernelAtLeast } from "../../../lib/base/kernel.ts";
import { mountPoints, needs } from "../../support/cases.ts";
import { refusal, StoreCommands } from "../../support/commands.ts";
import { storeDir } from "../../support/store_dir.ts";
import { listed, MAPS, ownedTar, useAs, USED } from "../shared/idmap.ts";
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

needs(lacking ?? old, "btrfs: a layer is a directory without a mount, which maps no ids", () => {
  using store = new BtrfsStore();
  store.must("create", "base");
  const ran = store.run("mount", "--idmap", "0:100000:10", "base");
  assertMatch(refusal("not supported", ran), /btrfs has no mounts that can map ids/);
});
