/** Changes, diffs and applying them: what a model says, what trees say, and what travels. */
import { IS_LONG } from "../../support/cases.ts";
import { assert, assertEquals } from "@std/assert";
import { lchownSync } from "node:fs";
import { lsetxattr } from "../../../ffi/xattr.ts";
import { changeAtRandom, lines, modelChanges } from "../../support/trees.ts";

import {
  apply,
  diff,
  EMPTY_TAR,
  fill,
  makeBase,
  rootOf,
  treeOf,
  verifyBase,
} from "../../support/layers.ts";
import { randomOf } from "../../support/random.ts";
import type { Suite } from "./suite.ts";

export function diffs(suite: Suite): void {
  suite.case("a layer without changes is the empty tar", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    driver.get("child");
    driver.put("child");
    assertEquals(Deno.readFileSync(diff(driver, "child", undefined, scratch)), EMPTY_TAR);
    assertEquals(lines(driver.changes("child", undefined)), []);
    assertEquals(driver.diffSize("child", undefined), 0);
    driver.create("empty");
    assertEquals(Deno.readFileSync(diff(driver, "empty", undefined, scratch)), EMPTY_TAR);
  });

  suite.case("disk usage is what a layer adds", ({ driver, scratch }) => {
    const MIB = 1024 * 1024;
    const write = (size: number) => (root: string) =>
      Deno.writeFileSync(`${root}/${size}`, new Uint8Array(size * MIB).fill(7));
    // Of a file system that a driver makes, metadata counts as well.
    const { overhead = 1 } = suite.subject;
    const assertAbout = (id: string, size: number) => {
      const bytes = driver.diskUsage(id);
      assert(size * MIB <= bytes && bytes < (size + overhead) * MIB, `${id}: ${bytes} bytes`);
    };
    fill(driver, "bottom", write(4));
    fill(driver, "child", write(2), "bottom");
    assertAbout("child", 2);
    assertAbout("bottom", 4);
    driver.create("copy", { parent: "bottom" });
    apply(driver, "copy", diff(driver, "child", undefined, scratch));
    assertAbout("copy", 2);
  });

  suite.case(
    "a layer knows when it was created, and not when it was filled",
    ({ driver, scratch }) => {
      const before = Date.now() * 1000;
      driver.create("bottom");
      const created = driver.createdAt("bottom");
      assert(created !== undefined);
      // Clocks of file systems tick, and some know whole seconds alone.
      assert(before - 3_000_000 <= created && created <= Date.now() * 1000, `${created}`);
      fill(driver, "child", (root) => Deno.writeTextFileSync(`${root}/f`, "f"), "bottom");
      assert(driver.createdAt("child")! >= created);
      const filled = driver.createdAt("child");
      driver.create("copy", { parent: "bottom" });
      apply(driver, "copy", diff(driver, "child", undefined, scratch));
      assertEquals(driver.createdAt("child"), filled);
      const times = driver.creationTimes(["bottom", "missing", "child"]);
      assertEquals([...times], [["bottom", created], ["child", filled]]);
    },
  );

  suite.case("the empty tar is applied", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    Deno.writeFileSync(`${scratch}/empty.tar`, EMPTY_TAR);
    assertEquals(apply(driver, "child", `${scratch}/empty.tar`), 0);
    verifyBase(driver, "child");
  });

  suite.case("no parent is the whole layer", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    fill(driver, "child", (root) => Deno.writeTextFileSync(`${root}/new`, "new"), "bottom");
    assertEquals(lines(driver.changes("child", "")), ["A /a file", "A /a subdir", "A /new"]);
    driver.create("whole");
    apply(driver, "whole", diff(driver, "child", "", scratch));
    assertEquals(treeOf(driver, "whole"), treeOf(driver, "child"));
    assertEquals(driver.diffSize("child", ""), "content".length + "new".length);
  });

  suite.case("another parent than the direct one is compared with", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    fill(driver, "middle", (root) => Deno.writeTextFileSync(`${root}/middle`, ""), "bottom");
    fill(driver, "top", (root) => Deno.writeTextFileSync(`${root}/top`, ""), "middle");
    fill(driver, "other", (root) => Deno.writeTextFileSync(`${root}/other`, ""));
    assertEquals(lines(driver.changes("top", "bottom")), ["A /middle", "A /top"]);
    const expected = ["A /a file", "A /a subdir", "A /middle", "D /other", "A /top"];
    assertEquals(lines(driver.changes("top", "other")), expected);
    driver.create("copy", { parent: "other" });
    apply(driver, "copy", diff(driver, "top", "other", scratch));
    assertEquals(treeOf(driver, "copy"), treeOf(driver, "top"));
  });

  suite.case("the root's own mode, owner and attributes are carried on", ({ driver, scratch }) => {
    fill(driver, "bottom", (root) => {
      Deno.chmodSync(root, 0o1777);
      lchownSync(root, 7, 8);
      lsetxattr(root, "user.root", new TextEncoder().encode("bottom"));
    });
    fill(driver, "child", (root) => {
      assertEquals(rootOf(root), [0o1777, 7, 8, "bottom"]);
      Deno.chmodSync(root, 0o711);
    }, "bottom");
    driver.create("grandchild", { parent: "child" });
    assertEquals(Deno.readFileSync(diff(driver, "grandchild", undefined, scratch)), EMPTY_TAR);
    driver.create("base-copy");
    apply(driver, "base-copy", diff(driver, "bottom", undefined, scratch));
    driver.create("child-copy", { parent: "base-copy" });
    apply(driver, "child-copy", diff(driver, "child", undefined, scratch));
    assertEquals(rootOf(driver.get("child-copy")), [0o711, 7, 8, "bottom"]);
    driver.put("child-copy");
  });

  suite.case("deletions and replacements travel", ({ driver, scratch }) => {
    fill(driver, "bottom", (root) => {
      Deno.mkdirSync(`${root}/opaque/below`, { recursive: true });
      Deno.writeTextFileSync(`${root}/opaque/old`, "old");
      Deno.mkdirSync(`${root}/becomes-file/inside`, { recursive: true });
      Deno.writeTextFileSync(`${root}/becomes-directory`, "");
      Deno.symlinkSync("opaque", `${root}/becomes-real`);
      Deno.writeTextFileSync(`${root}/gone`, "");
    });
    fill(driver, "child", (root) => {
      for (
        const name of ["opaque", "becomes-file", "becomes-directory", "becomes-real", "gone"]
      ) {
        Deno.removeSync(`${root}/${name}`, { recursive: true });
      }
      Deno.mkdirSync(`${root}/opaque`);
      Deno.writeTextFileSync(`${root}/opaque/new`, "new");
      Deno.writeTextFileSync(`${root}/becomes-file`, "file");
      Deno.mkdirSync(`${root}/becomes-directory/inside`, { recursive: true });
      Deno.mkdirSync(`${root}/becomes-real/inside`, { recursive: true });
    }, "bottom");
    const expected = treeOf(driver, "child");
    assertEquals(
      lines(driver.changes("child", undefined)),
      modelChanges(treeOf(driver, "bottom"), expected),
    );
    driver.create("copy", { parent: "bottom" });
    apply(driver, "copy", diff(driver, "child", undefined, scratch));
    assertEquals(treeOf(driver, "copy"), expected);
  });

  suite.case(
    "a directory made anew in several layers hides what each of them had in it",
    (store) => {
      const { driver, scratch } = store;
      const layers = ["o1", "o2", "o3", "o4"];
      for (const [i, id] of layers.entries()) {
        fill(driver, id, (root) => {
          for (const name of i === 0 ? [] : ["an", "turns"]) {
            Deno.removeSync(`${root}/${name}`, { recursive: true });
          }
          Deno.mkdirSync(`${root}/an/in`, { recursive: true });
          for (const path of [`f${i}`, `in/f${i}`]) {
            Deno.writeTextFileSync(`${root}/an/${path}`, id);
          }
          // A file between directories hides what lies below it.
          if (i % 2 === 1) {
            Deno.writeTextFileSync(`${root}/turns`, id);
          } else Deno.mkdirSync(`${root}/turns`);
          if (i === 0) Deno.writeTextFileSync(`${root}/turns/old`, id);
        }, layers[i - 1]);
      }
      driver.create("copy1");
      apply(driver, "copy1", diff(driver, "o1", undefined, scratch));
      for (let i = 1; i < layers.length; i++) {
        const tree = treeOf(driver, layers[i]), before = treeOf(driver, layers[i - 1]);
        const expected = ["/an", `/an/f${i}`, "/an/in", `/an/in/f${i}`, "/turns"];
        assertEquals([...tree.keys()], expected, layers[i]);
        const changes = modelChanges(before, tree);
        assertEquals(lines(driver.changes(layers[i], undefined)), changes);
        assertEquals(
          lines(driver.changes(layers[i], "copy1")),
          modelChanges(treeOf(driver, "o1"), tree),
        );
        const copy = `copy${i + 1}`;
        driver.create(copy, { parent: `copy${i}` });
        apply(driver, copy, diff(driver, layers[i], undefined, scratch));
        assertEquals(treeOf(driver, copy), tree, `${layers[i]}, copied`);
      }
    },
  );

  suite.case("random changes are what a model says, what trees say, and travel", (store) => {
    const { driver, scratch } = store;
    const seeds = IS_LONG ? 300 : 12;
    for (let seed = 1; seed <= seeds; seed++) {
      const pick = randomOf(seed);
      const [bottom, base, twin, child, copy] = ["bottom", "base", "twin", "child", "copy"]
        .map((name) => name + seed);
      fill(driver, bottom, (root) => changeAtRandom(root, pick, 40));
      fill(driver, base, (root) => changeAtRandom(root, pick, 15), bottom);
      driver.create(twin, { parent: base });
      fill(driver, child, (root) => changeAtRandom(root, pick, 25), base);
      const tree = treeOf(driver, child);
      const changes = lines(driver.changes(child, undefined));
      assertEquals(changes, modelChanges(treeOf(driver, base), tree), `seed ${seed}`);
      assertEquals(lines(driver.changes(child, twin)), changes, `seed ${seed}, trees compared`);
      driver.create(copy, { parent: base });
      const tar = diff(driver, child, undefined, scratch);
      // A tar may also hold what was copied up and is as it was, which is no change.
      assert(apply(driver, copy, tar) >= driver.diffSize(child, undefined), `seed ${seed}`);
      assertEquals(treeOf(driver, copy), tree, `seed ${seed}, copied`);
    }
  });
}
