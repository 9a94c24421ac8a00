/** Committing and removing what is mounted, or still written to. */
import { assert, assertEquals } from "@std/assert";
import { MNT_DETACH, umount } from "../../../ffi/mount.ts";
import { commitChanged, mounted, mountedByTriples, treeOf, write } from "./mounting.ts";
import type { SnapshotterSuite } from "./suite.ts";
import { assertFails } from "../../support/errors.ts";

export function commits(suite: SnapshotterSuite): void {
  for (const parent of ["", "base"]) {
    const on = parent === "" ? "on nothing" : "on a parent";

    suite.case(`what is mounted is not removed, ${on}`, ({ snapshots, scratch }) => {
      commitChanged(snapshots, scratch, { name: "base" });
      snapshots.prepare("active", parent);
      snapshots.view("view", parent);
      for (const key of ["active", "view"]) {
        const refuse = (root: string) => {
          // The mount of a view may be made of its parent's layers alone: then those are in use.
          const isParents = key === "view" && parent !== "" && suite.subject.viewsAreParents;
          if (isParents) snapshots.remove(key);
          const used = isParents ? parent : key;
          const error = assertFails("in use", () => snapshots.remove(used));
          assert(error.message.includes(root), `${error.message} names ${root}`);
          assertEquals(snapshots.stat(used).name, used);
          if (isParents) snapshots.view(key, parent);
        };
        if (key === "view") snapshots.remove("active"); // So that a parent has no child but the view.
        mounted(snapshots, key, scratch, refuse);
        mountedByTriples(snapshots.mounts(key), scratch, refuse);
      }
      snapshots.remove("view");
    });

    const { committedMounted } = suite.subject;
    const isService = [false, ...committedMounted ? [true] : []];
    for (const service of isService) {
      suite.case(
        service
          ? `a service commits what is written to meanwhile, ${on}`
          : `what is mounted is not committed, ${on}`,
        ({ snapshots, scratch, reopen }) => {
          commitChanged(snapshots, scratch, { name: "base" });
          snapshots.prepare("key", parent);
          mounted(snapshots, "key", scratch, (root) => {
            using file = Deno.openSync(`${root}/file`, { write: true, create: true });
            file.writeSync(new TextEncoder().encode("before"));
            if (service) reopen("ignore").commit("name", "key");
            else {
              const error = assertFails("in use", () => snapshots.commit("name", "key"));
              assert(error.message.includes(root), `${error.message} names ${root}`);
              assertEquals(snapshots.stat("key").kind, "active");
              mountedByTriples(snapshots.mounts("key"), scratch, () => {});
            }
            try {
              file.writeSync(new TextEncoder().encode(" and after"));
            } catch {
              // What was committed may also be gone from where it was mounted.
            }
          });
          if (!service) snapshots.commit("name", "key");
          snapshots.view("view", "name");
          const read = (root: string) => Deno.readTextFileSync(`${root}/file`);
          const text = mounted(snapshots, "view", scratch, read);
          assertEquals(text, service ? committedMounted : "before and after");
        },
      );
    }
  }

  suite.case("what was written and not synced is committed", ({ snapshots, scratch }) => {
    const size = 8 << 20;
    snapshots.prepare("key", "");
    const target = Deno.makeTempDirSync({ dir: scratch });
    const root = snapshots.mount("key", target);
    Deno.writeFileSync(`${root}/large`, new Uint8Array(size).fill(7));
    for (let i = 0; i < 100; i++) write(`${root}/small-${i}`, `${i}`);
    umount(root, MNT_DETACH);
    snapshots.commit("name", "key");
    const tree = treeOf(snapshots, scratch, "name");
    assertEquals(tree.size, 101);
    snapshots.prepare("child", "name");
    mounted(snapshots, "child", scratch, (root) => {
      assert(Deno.readFileSync(`${root}/large`).every((byte) => byte === 7));
      assertEquals(Deno.readTextFileSync(`${root}/small-99`), "99");
    });
  });
}
