/** What fails, and what is left of it. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../../lib/base/errors.ts";
import { lines, tarOf } from "../../support/trees.ts";

import {
  apply,
  diff,
  makeBase,
  sampleTar,
  treeNames,
  treeOf,
  verifyBase,
} from "../../support/layers.ts";
import { assertFails } from "../../support/errors.ts";
import type { Suite } from "./suite.ts";

export function failures(suite: Suite): void {
  suite.case("a tar cut short leaves the layer incomplete", ({ driver, scratch, reopen }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    const whole = sampleTar(scratch), cut = `${scratch}/cut.tar`;
    Deno.writeFileSync(cut, Deno.readFileSync(whole).subarray(0, 3000));
    assertThrows(() => apply(driver, "child", cut), VeneerError);

    for (const opened of [driver, reopen()]) {
      assert(opened.layer("child").incomplete);
      assert(opened.exists("child"));
      const calls: (() => void)[] = [
        () => opened.get("child"),
        () => opened.mounts("child"),
        () => diff(opened, "child", undefined, scratch),
        () => lines(opened.changes("child", undefined)),
        () => opened.create("grandchild", { parent: "child" }),
      ];
      for (const call of calls) {
        const error = assertFails("failed precondition", call);
        assert(error.message.includes("incomplete"), error.message);
      }
    }
    apply(driver, "child", whole);
    assert(!driver.layer("child").incomplete);
    assertEquals(lines(driver.changes("child", undefined)), ["A /big", "A /second"]);
  });

  suite.case("an incomplete layer starts over, and is removed", ({ driver, scratch }) => {
    driver.create("layer");
    const cut = `${scratch}/cut.tar`;
    const bytes = Deno.readFileSync(sampleTar(scratch));
    // All of the first file, part of the second one.
    Deno.writeFileSync(cut, bytes.subarray(0, bytes.length - 12_000));
    assertThrows(() => apply(driver, "layer", cut), VeneerError);
    Deno.mkdirSync(`${scratch}/other`);
    Deno.writeTextFileSync(`${scratch}/other/only`, "");
    apply(driver, "layer", tarOf(`${scratch}/other`, `${scratch}/other.tar`));
    assertEquals([...treeOf(driver, "layer").keys()], ["/only"]);
    assertThrows(() => apply(driver, "layer", cut), VeneerError);
    driver.remove("layer");
    assert(!driver.exists("layer"));
  });

  suite.case("what is no tar changes nothing", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    Deno.writeTextFileSync(`${scratch}/text`, "this is not a tar\n".repeat(100));
    assertThrows(() => apply(driver, "child", `${scratch}/text`), VeneerError);
    assert(!driver.layer("child").incomplete);
    verifyBase(driver, "child");
  });

  suite.case("a layer in use is not applied to", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    const tar = sampleTar(scratch);
    assertFails("in use", () => apply(driver, "bottom", tar));
    driver.get("child");
    assertFails("in use", () => apply(driver, "child", tar));
    driver.put("child");
    verifyBase(driver, "child");
    apply(driver, "child", tar);
  });

  suite.case("layers are whole after every failed create", ({ driver, root }) => {
    driver.create("bottom");
    const before = treeNames(root);
    const failing: (() => void)[] = [
      () => driver.create("x", { parent: "none" }),
      () => driver.create("bottom"),
      () => driver.create("x", { storageOptions: new Map([["size", "1G"]]) }),
      () => driver.createReadWrite("x", { storageOptions: new Map([["nothing", "1"]]) }),
    ];
    for (const call of failing) assertThrows(call, VeneerError);
    assertEquals(treeNames(root), before);
  });
}
