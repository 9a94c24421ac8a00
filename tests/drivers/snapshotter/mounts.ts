/** Mounting snapshots in this process's mount namespace, and giving back what that took. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { MNT_DETACH, umount } from "../../../ffi/mount.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { mountPoints } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { commitChanged, write } from "./mounting.ts";
import type { SnapshotterSuite } from "./suite.ts";

export function mounts(suite: SnapshotterSuite): void {
  suite.case("an active snapshot is mounted once, below the home", (store) => {
    const { snapshots, root, reopen } = store;
    const other = reopen();
    snapshots.prepare("key", "");
    const path = snapshots.mount("key");
    assert(path.startsWith(`${snapshots.home}/mounts/`), path);
    write(`${path}/file`, "content");
    assertFails("in use", () => other.mount("key"));
    assertFails("in use", () => other.mount("key", store.scratch));
    for (const end of [() => other.commit("name", "key"), () => other.remove("key")]) {
      const { message } = assertFails("in use", end);
      assertEquals(message, `snapshot "key" is mounted at ${path}`);
    }
    assertEquals(other.unmount("key"), path);
    assertFails("failed precondition", () => snapshots.unmount("key"));
    snapshots.commit("name", "key");
    other.close();
    assertEquals(mountPoints(root), []);
    snapshots.view("view", "name");
    assertEquals(Deno.readTextFileSync(`${snapshots.mount("view")}/file`), "content");
    snapshots.unmount("view");
    assertEquals(snapshots.cleanup(), [`released ${snapshots.home}`]);
  });

  suite.case("a view is mounted at directories, and nothing over another mount", (store) => {
    const { snapshots, scratch } = store;
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, "content"),
    });
    snapshots.view("view", "base");
    const [a, b] = ["a", "b"].map((name) => `${scratch}/${name}`);
    for (const directory of [a, b]) {
      Deno.mkdirSync(directory);
      assertEquals(snapshots.mount("view", directory), directory);
      assertEquals(Deno.readTextFileSync(`${directory}/file`), "content");
      assertFails("in use", () => snapshots.mount("view", directory));
    }
    Deno.symlinkSync(a, `${scratch}/link`);
    assertEquals(snapshots.unmountAt(`${scratch}/link`), a);
    assertFails("failed precondition", () => snapshots.unmountAt(a));
    assertFails("invalid argument", () => snapshots.mount("view", `${a}/none`));
    snapshots.unmountAt(b);
  });

  suite.case(
    "cleanup unmounts what is gone and releases the home, and the store goes on",
    (store) => {
      const { snapshots, root, reopen } = store;
      snapshots.prepare("key", "");
      snapshots.mount("key");
      assertEquals(snapshots.cleanup(), [], "a mount that is wanted stays");
      // As the engine that owns a store does, which knows its mounts.
      const engine = reopen("ignore");
      const path = snapshots.unmount("key");
      snapshots.mount("key");
      umount(path, MNT_DETACH);
      engine.remove("key");
      engine.close();
      assertEquals(snapshots.cleanup(), [`released ${snapshots.home}`]);
      assertEquals(mountPoints(root), []);
      snapshots.prepare("key", "");
      assertEquals(snapshots.stat("key").kind, "active");
      assertEquals(snapshots.cleanup(), []);
    },
  );

  suite.case("a closed store refuses, and another goes on", ({ snapshots, reopen }) => {
    const closed = reopen();
    closed.close();
    closed.close();
    const calls: ((snapshots: Snapshotter) => unknown)[] = [
      (snapshots) => snapshots.status(),
      (snapshots) => snapshots.prepare("key", ""),
      (snapshots) => snapshots.mount("key"),
      (snapshots) => snapshots.unmount("key"),
      (snapshots) => snapshots.unmountAt("/"),
      (snapshots) => [...snapshots.walk()],
      (snapshots) => snapshots.cleanup(),
    ];
    for (const call of calls) {
      const { message } = assertFails("failed precondition", () => void call(closed));
      assertMatch(message, /^the store at .* was closed; open it again$/);
    }
    assertEquals([closed.name, closed.home], [snapshots.name, snapshots.home]);
    snapshots.prepare("key", "");
    assert(snapshots.status().length > 0);
  });
}
