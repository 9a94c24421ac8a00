/** Chains as deep as a driver takes them. */
import { assertEquals } from "@std/assert";
import { describeTree } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";
import {
  type Change,
  commitChanged,
  mkdir,
  mounted,
  removeTree,
  timeless,
  treeOf,
  write,
} from "./mounting.ts";
import type { SnapshotterSuite } from "./suite.ts";

export function deep(suite: SnapshotterSuite): void {
  const { maxDepth } = suite.subject;

  suite.case(`128LayersMount (of ${Math.min(128, maxDepth)})`, ({ snapshots, scratch }) => {
    const flat = `${scratch}/flat`;
    mkdir(flat);
    let parent = "";
    for (let i = 0; i < Math.min(128, maxDepth); i++) {
      const change = i === 0 ? lowest : above(i);
      const before = timeless(describeTree(flat));
      change(flat);
      commitChanged(snapshots, scratch, {
        name: `layer-${i}`,
        parent,
        change(root) {
          assertEquals(timeless(describeTree(root)), before, `before layer ${i}`);
          change(root);
        },
      });
      parent = `layer-${i}`;
    }
    assertEquals(timeless(treeOf(snapshots, scratch, parent)), timeless(describeTree(flat)));
    snapshots.prepare("on top", parent);
    const seen = mounted(snapshots, "on top", scratch, describeTree);
    assertEquals(timeless(seen), timeless(describeTree(flat)));
    snapshots.remove("on top");
  });

  if (maxDepth > 128 && Number.isFinite(maxDepth)) {
    suite.case(`what could not be mounted is not made (beyond ${maxDepth})`, (store) => {
      const { snapshots, scratch } = store;
      for (let i = 0; i < maxDepth; i++) {
        snapshots.prepare("key", i === 0 ? "" : `layer-${i - 1}`);
        snapshots.commit(`layer-${i}`, "key");
      }
      const before = [...snapshots.walk()];
      assertFails("limit exceeded", () => {
        snapshots.prepare("key", `layer-${maxDepth - 1}`);
        snapshots.commit(`layer-${maxDepth}`, "key");
        snapshots.prepare("key", `layer-${maxDepth}`);
      });
      if (snapshots.exists(`layer-${maxDepth}`)) snapshots.remove(`layer-${maxDepth}`);
      assertEquals([...snapshots.walk()], before);
      snapshots.view("view", `layer-${maxDepth - 1}`);
      mounted(snapshots, "view", scratch, (root) => assertEquals([...Deno.readDirSync(root)], []));
      snapshots.remove("view");
    });
  }
}

const lowest: Change = (root) => {
  write(`${root}/lowest`, "the first", 0o777);
  write(`${root}/written over`, "first", 0o777);
  mkdir(`${root}/added to`);
  mkdir(`${root}/made anew`);
  write(`${root}/made anew/lowest`, "gone with the second", 0o777);
};

const above = (i: number): Change => (root) => {
  write(`${root}/written over`, `by ${i}`, 0o777);
  write(`${root}/added to/file-${i}`, "the same", 0o755);
  removeTree(`${root}/made anew`);
  mkdir(`${root}/made anew`);
  write(`${root}/made anew/file-${i}`, "alone", 0o777);
};
