/** The cases that the field's own graph driver suites have, under their names. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { IS_QUICK, needs } from "../../support/cases.ts";
import { changeAtRandom, lines, tarOf } from "../../support/trees.ts";

import { apply, diff, fill, makeBase, treeOf, verifyBase } from "../../support/layers.ts";
import { randomOf } from "../../support/random.ts";
import type { Suite } from "./suite.ts";

export function peers(suite: Suite): void {
  suite.case("CreateEmpty", ({ driver }) => {
    driver.create("empty");
    assert(driver.exists("empty"));
    const root = driver.get("empty");
    assertEquals([...Deno.readDirSync(root)], []);
    const { mode, uid, gid } = Deno.lstatSync(root);
    assertEquals([mode! & 0o7777, uid, gid], [0o755, 0, 0]);
    driver.put("empty");
    driver.remove("empty");
    assert(!driver.exists("empty"));
  });

  suite.case("CreateBase", ({ driver }) => {
    makeBase(driver, "bottom");
    verifyBase(driver, "bottom");
    driver.remove("bottom");
  });

  suite.case("CreateSnap", ({ driver }) => {
    makeBase(driver, "bottom");
    driver.create("snap", { parent: "bottom" });
    verifyBase(driver, "snap");
    const root = driver.get("snap");
    Deno.writeTextFileSync(`${root}/a file`, "changed in the snap");
    Deno.removeSync(`${root}/a subdir`);
    driver.put("snap");
    verifyBase(driver, "bottom");
    assertEquals(lines(driver.changes("snap", undefined)), ["C /a file", "D /a subdir"]);
  });

  needs(
    "layers are not made from templates: a child with the same content is what there is",
    `${suite.subject.name}: CreateFromTemplate`,
    () => {},
  );

  deepLayerRead(suite, "DeepLayerRead", Math.min(128, suite.subject.maxDepth));
  if (suite.subject.maxDepth > 128 && !IS_QUICK) {
    deepLayerRead(suite, "DeepLayerRead at the driver's limit");
  }

  suite.case("DiffApply", (store) => {
    const { driver, scratch } = store;
    fill(driver, "bottom", (root) => {
      for (let i = 0; i < 100; i++) Deno.writeTextFileSync(`${root}/base-${i}`, `${i}`);
      Deno.mkdirSync(`${root}/directory/below`, { recursive: true });
    });
    fill(driver, "upper", (root) => {
      for (let i = 0; i < 100; i += 2) Deno.removeSync(`${root}/base-${i}`);
      for (let i = 0; i < 30; i++) Deno.writeTextFileSync(`${root}/upper-${i}`, "x".repeat(i));
      Deno.removeSync(`${root}/directory`, { recursive: true });
      Deno.mkdirSync(`${root}/directory`);
    }, "bottom");
    const size = driver.diffSize("upper", undefined);
    assertEquals(size, 29 * 30 / 2);

    driver.create("copy", { parent: "bottom" });
    assertEquals(apply(driver, "copy", diff(driver, "upper", undefined, scratch)), size);
    assertEquals(treeOf(driver, "copy"), treeOf(driver, "upper"));
    assertEquals(
      lines(driver.changes("copy", undefined)),
      lines(driver.changes("upper", "bottom")),
    );
  });

  suite.case("Changes", ({ driver }) => {
    fill(driver, "bottom", (root) => {
      Deno.mkdirSync(`${root}/untouched`);
      Deno.mkdirSync(`${root}/directory`);
      for (const name of ["kept", "changed", "removed", "mode", "directory/inside"]) {
        Deno.writeTextFileSync(`${root}/${name}`, name);
      }
    });
    fill(driver, "upper", (root) => {
      Deno.writeTextFileSync(`${root}/changed`, "otherwise");
      Deno.removeSync(`${root}/removed`);
      Deno.chmodSync(`${root}/mode`, 0o600);
      Deno.writeTextFileSync(`${root}/directory/new`, "new");
      Deno.mkdirSync(`${root}/added`);
      Deno.symlinkSync("anywhere", `${root}/added/link`);
    }, "bottom");
    const expected = [
      "A /added",
      "A /added/link",
      "C /changed",
      "C /directory",
      "A /directory/new",
      "C /mode",
      "D /removed",
    ];
    assertEquals(lines(driver.changes("upper", "bottom")), expected);
    assertEquals(lines(driver.changes("upper", undefined)), expected);
    assertEquals(lines(driver.changes("bottom", undefined)), [
      "A /changed",
      "A /directory",
      "A /directory/inside",
      "A /kept",
      "A /mode",
      "A /removed",
      "A /untouched",
    ]);
  });

  suite.case("SetQuota", ({ driver }) => {
    makeBase(driver, "bottom");
    const { quota = 8 } = suite.subject;
    const limit = new Map([["SIZE", `${quota}M`]]);
    driver.createReadWrite("limited", { parent: "bottom", storageOptions: limit });
    const root = driver.get("limited");
    Deno.writeFileSync(`${root}/fits`, new Uint8Array(quota * 0.6 * 2 ** 20));
    const more = new Uint8Array(quota * 0.75 * 2 ** 20);
    assertThrows(() => Deno.writeFileSync(`${root}/does not`, more));
    driver.put("limited");
    driver.remove("limited");
  }, suite.subject.lacking ?? suite.subject.lackingQuota);

  suite.case("Echo", (store) => {
    const { driver, scratch } = store;
    const pick = randomOf(7);
    const chain = ["first", "second", "third"];
    let parent: string | undefined;
    for (const id of chain) {
      fill(driver, id, (root) => changeAtRandom(root, pick, 40), parent);
      driver.create(`echo-${id}`, { parent: parent && `echo-${parent}` });
      const tar = diff(driver, id, undefined, scratch);
      apply(driver, `echo-${id}`, tar);
      assertEquals(treeOf(driver, `echo-${id}`), treeOf(driver, id));
      assertEquals(
        lines(driver.changes(`echo-${id}`, undefined)),
        lines(driver.changes(id, undefined)),
      );
      const again = diff(driver, `echo-${id}`, undefined, scratch);
      assertEquals(Deno.readFileSync(again), Deno.readFileSync(tar));
      parent = id;
    }
  });

  suite.case("ListLayers", ({ driver, reopen }) => {
    assertEquals(driver.layers(), []);
    for (const id of ["b", "a", "c.d_e-f"]) driver.create(id);
    driver.create("child", { parent: "b" });
    const all = driver.layers();
    assertEquals(all.map(({ id }) => id), ["a", "b", "c.d_e-f", "child"]);
    assertEquals(all.map(({ parent }) => parent), ["", "", "", "b"]);
    assert(all.every(({ incomplete, references }) => !incomplete && references === 0));
    assertEquals(reopen().layers(), all);
    driver.remove("a");
    assertEquals(driver.layers().map(({ id }) => id), ["b", "c.d_e-f", "child"]);
  });
}

function deepLayerRead(suite: Suite, name: string, depth = suite.subject.maxDepth): void {
  suite.case(`${name} (${depth} layers below)`, ({ driver, scratch }) => {
    Deno.mkdirSync(`${scratch}/layer`);
    for (let i = 0; i <= depth; i++) {
      for (const file of ["shared", `only-${i}`]) {
        Deno.writeTextFileSync(`${scratch}/layer/${file}`, `layer ${i}`);
      }
      const parent = i === 0 ? undefined : `layer-${i - 1}`;
      driver.create(`layer-${i}`, { parent });
      apply(driver, `layer-${i}`, tarOf(`${scratch}/layer`, `${scratch}/layer.tar`));
      Deno.removeSync(`${scratch}/layer/only-${i}`);
    }
    for (const readOnly of [false, true]) {
      const root = driver.get(`layer-${depth}`, { readOnly });
      assertEquals(Deno.readTextFileSync(`${root}/shared`), `layer ${depth}`);
      for (let i = 0; i <= depth; i++) {
        assertEquals(Deno.readTextFileSync(`${root}/only-${i}`), `layer ${i}`);
      }
      assertEquals([...Deno.readDirSync(root)].length, depth + 2);
      driver.put(`layer-${depth}`);
    }
  });
}
