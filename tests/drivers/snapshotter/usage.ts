/** What a snapshot is said to add. */
import { assert, assertEquals } from "@std/assert";
import type { Usage } from "../../../lib/snapshots/snapshotter.ts";
import { commitChanged, mounted, write } from "./mounting.ts";
import type { SnapshotterSuite } from "./suite.ts";

const MIB = 2 ** 20;

/** Bytes that no file system makes less of. */
function noise(bytes: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) crypto.getRandomValues(all.subarray(at, at + 65536));
  return all;
}

export function usage(suite: SnapshotterSuite): void {
  const { countsInodes, overhead = 1 } = suite.subject;

  /** Disk space is handed out in pieces, and a file system has records of its own. */
  function assertNear({ bytes }: Usage, mebibytes: number, what: string, snapshots = 1): void {
    assert(bytes >= mebibytes * MIB, `${what}: ${bytes} bytes, at least ${mebibytes} MiB`);
    const most = (mebibytes + overhead * snapshots) * MIB;
    assert(bytes < most, `${what}: ${bytes} bytes, about ${mebibytes} MiB`);
  }

  suite.case("usage is what a snapshot adds, and adds up", ({ snapshots, scratch, reopen }) => {
    snapshots.prepare("key", "");
    const empty = snapshots.usage("key");
    assertNear(empty, 0, "nothing written");
    mounted(snapshots, "key", scratch, (root) => Deno.writeFileSync(`${root}/3`, noise(3 * MIB)));
    const one = snapshots.usage("key");
    assertNear(one, 3, "one file");
    mounted(snapshots, "key", scratch, (root) => {
      for (let i = 0; i < 10; i++) Deno.writeFileSync(`${root}/part ${i}`, noise(MIB / 2));
    });
    const eleven = snapshots.usage("key");
    assertNear(eleven, 8, "eleven files");
    if (countsInodes) {
      assertEquals([one.inodes - empty.inodes, eleven.inodes - empty.inodes], [1, 11]);
    }
    snapshots.commit("base", "key");
    assertNear(snapshots.usage("base"), 8, "committed");

    snapshots.prepare("key", "base");
    assertNear(snapshots.usage("key"), 0, "nothing of the parent's");
    mounted(snapshots, "key", scratch, (root) => Deno.writeFileSync(`${root}/2`, noise(2 * MIB)));
    assertNear(snapshots.usage("key"), 2, "its own alone");
    snapshots.commit("child", "key");
    const [base, child] = ["base", "child"].map((name) => snapshots.usage(name));
    assertNear(child, 2, "the child's own");
    if (countsInodes) {
      assert(base.inodes >= 11 && base.inodes <= 13, `${base.inodes} inodes`);
      assert(child.inodes >= 1 && child.inodes <= 3, `${child.inodes} inodes`);
    }
    assertNear({ bytes: base.bytes + child.bytes, inodes: 0 }, 10, "both", 2);
    assertEquals(["base", "child"].map((name) => reopen().usage(name)), [base, child]);
  });

  suite.case("a view adds nothing", ({ snapshots, scratch }) => {
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, "content"),
    });
    snapshots.view("view", "base");
    snapshots.view("empty", "");
    for (const key of ["view", "empty"]) {
      assertEquals(snapshots.usage(key), { bytes: 0, inodes: 0 });
    }
  });

  suite.case("what is deleted again does not count", ({ snapshots, scratch }) => {
    snapshots.prepare("key", "");
    mounted(snapshots, "key", scratch, (root) => Deno.writeFileSync(`${root}/4`, noise(4 * MIB)));
    assertNear(snapshots.usage("key"), 4, "written");
    mounted(snapshots, "key", scratch, (root) => Deno.removeSync(`${root}/4`));
    assertNear(snapshots.usage("key"), 0, "deleted");
  });
}
