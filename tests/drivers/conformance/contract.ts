/** The contract of `GraphDriver`: ids, counts, references, removal, who owns what. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { lchownSync } from "node:fs";
import { join } from "@std/path";
import type { GetOptions, GraphDriver } from "../../../lib/graph/driver.ts";
import { IdMap, type IdMaps } from "../../../lib/base/id_maps.ts";
import { readMountInfo } from "../../../lib/mount/mountinfo.ts";
import { mountPoints, must } from "../../support/cases.ts";
import { runState } from "../../support/store_dir.ts";
import { lines, tarOf } from "../../support/trees.ts";

import {
  apply,
  diff,
  EMPTY_TAR,
  fill,
  makeBase,
  treeNames,
  verifyBase,
} from "../../support/layers.ts";
import { assertFails } from "../../support/errors.ts";
import type { Suite } from "./suite.ts";

export function contract(suite: Suite): void {
  suite.case("get and put count", ({ driver, reopen }) => {
    fill(driver, "bottom", (root) => Deno.writeTextFileSync(`${root}/f`, "bottom"));
    driver.create("child", { parent: "bottom" });
    const path = driver.get("child");
    assertEquals(Deno.readTextFileSync(`${path}/f`), "bottom");
    const other = reopen();
    assertEquals(other.get("child"), path);
    assertEquals(driver.layer("child").references, 2);
    driver.put("child");
    assertEquals(other.layer("child").references, 1);
    assertEquals(Deno.readTextFileSync(`${path}/f`), "bottom");
    other.put("child");
    const info = driver.layer("child");
    assertEquals([info.references, info.mountPoint], [0, undefined]);
    assertFails("failed precondition", () => driver.put("child"));
  });

  suite.case("what is written through a mount is there at the next", ({ driver }) => {
    for (const [id, parent] of [["bottom", undefined], ["child", "bottom"]] as const) {
      fill(driver, id, (root) => Deno.writeTextFileSync(`${root}/in ${id}`, id), parent);
      const names = [...Deno.readDirSync(driver.get(id))].map(({ name }) => name);
      assertEquals(names.sort(), parent ? ["in bottom", "in child"] : ["in bottom"]);
      driver.put(id);
    }
  });

  suite.case("a mount is seen here only, and once", ({ driver, root }) => {
    driver.create("bottom");
    driver.create("child", { parent: "bottom" });
    const path = driver.get("child");
    for (const mount of readMountInfo().filter(({ mountPoint }) => mountPoint.startsWith(root))) {
      assertEquals(mount.propagation, [], mount.mountPoint);
    }
    if (mountPoints(root).includes(path)) {
      assertEquals(mountPoints(root).filter((point) => point === path).length, 1);
    }
    driver.put("child");
  });

  suite.case("a read-only mount", ({ driver }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    for (const id of ["bottom", "child"]) {
      const root = driver.get(id, { readOnly: true });
      assertEquals(Deno.readTextFileSync(`${root}/a file`), "content");
      const error = assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""), Error);
      assert(/read-only|EROFS|os error 30/i.test(error.message), error.message);
      // A layer with a child is mounted so in any case.
      if (id === "bottom") assertEquals([driver.get(id), driver.put(id)], [root, undefined]);
      else assertFails("in use", () => driver.get(id));
      assertEquals(driver.get(id, { readOnly: true }), root);
      driver.put(id);
      driver.put(id);
      assertEquals(driver.layer(id).references, 0);
      assertEquals(driver.layer(id).mountPoint, undefined);
    }
    assertEquals(lines(driver.changes("child", undefined)), []);
  });

  suite.case("what is in use writable is not handed out read-only, but diffed", ({ driver }) => {
    makeBase(driver, "bottom");
    driver.create("middle", { parent: "bottom" });
    driver.create("child", { parent: "middle" });
    const root = driver.get("child");
    Deno.writeTextFileSync(`${root}/new`, "");
    assertFails("in use", () => driver.get("child", { readOnly: true }));
    assertEquals(lines(driver.changes("child", "bottom")), ["A /new"]);
    Deno.writeTextFileSync(`${root}/newer`, "");
    driver.put("child");
  });

  suite.case("children and references keep a layer", ({ driver }) => {
    driver.create("bottom");
    driver.create("child", { parent: "bottom" });
    const error = assertFails("in use", () => driver.remove("bottom"));
    assert(error.message.includes("child"), error.message);
    driver.get("child");
    const used = assertFails("in use", () => driver.remove("child"));
    assert(used.message.includes("child"), used.message);
    driver.put("child");
    driver.remove("child");
    driver.remove("bottom");
    assertEquals(driver.layers(), []);
  });

  suite.case("a layer is removed once", ({ driver }) => {
    driver.create("layer");
    driver.remove("layer");
    assertFails("not found", () => driver.remove("layer"));
    driver.create("layer");
    assertEquals(lines(driver.changes("layer", undefined)), []);
  });

  suite.case("what does not exist is not found", ({ driver, scratch }) => {
    const tar = `${scratch}/empty.tar`;
    Deno.writeFileSync(tar, EMPTY_TAR);
    assert(!driver.exists("nothing"));
    const calls: (() => void)[] = [
      () => driver.get("nothing"),
      () => driver.put("nothing"),
      () => driver.remove("nothing"),
      () => driver.layer("nothing"),
      () => driver.getMetadata("nothing"),
      () => driver.mounts("nothing"),
      () => lines(driver.changes("nothing", undefined)),
      () => driver.diffSize("nothing", undefined),
      () => diff(driver, "nothing", undefined, scratch),
      () => apply(driver, "nothing", tar),
      () => driver.create("child", { parent: "nothing" }),
      () => driver.createReadWrite("child", { parent: "nothing" }),
    ];
    for (const call of calls) assertFails("not found", call);
    driver.create("layer");
    assertFails("not found", () => lines(driver.changes("layer", "nothing")));
    assertFails("not found", () => diff(driver, "layer", "nothing", scratch));
    assertEquals(driver.layers().map(({ id }) => id), ["layer"]);
  });

  suite.case("what exists is not made again", ({ driver }) => {
    makeBase(driver, "bottom");
    assertFails("already exists", () => driver.create("bottom"));
    assertFails("already exists", () => driver.createReadWrite("bottom"));
    verifyBase(driver, "bottom");
  });

  suite.case("what is no id is refused everywhere", ({ driver, scratch, root }) => {
    const before = treeNames(root);
    const ids = [
      "",
      ".",
      "..",
      "a/b",
      "../x",
      ".veneer",
      "-x",
      "x".repeat(201),
      "a b",
      "é",
      "a\0b",
    ];
    for (const id of ids) {
      for (
        const call of [
          () => driver.create(id),
          () => driver.get(id),
          () => driver.put(id),
          () => driver.remove(id),
          () => driver.exists(id),
          () => driver.getMetadata(id),
          () => diff(driver, id, undefined, scratch),
        ]
      ) assertFails("invalid argument", call);
      if (id !== "") assertFails("invalid argument", () => driver.create("x", { parent: id }));
    }
    assertEquals(treeNames(root), before);
    const longest = "x".repeat(suite.subject.longestId ?? 200);
    driver.create(longest);
    driver.create("child", { parent: longest });
    driver.get("child");
    driver.put("child");
  });

  suite.case("storage options that are none are refused", ({ driver }) => {
    const error = assertFails(
      "invalid argument",
      () => driver.createReadWrite("x", { storageOptions: new Map([["sise", "1G"]]) }),
    );
    assertStringIncludes(error.message, "sise");
    // Those that there are, or that the driver has none.
    const known = suite.subject.lackingQuota === undefined ? /\bsize\b/ : /\bsize\b|have none/;
    assertMatch(error.message, known);
    assertFails(
      "invalid argument",
      () => driver.createReadWrite("x", { storageOptions: new Map([["size", "lots"]]) }),
    );
    assertEquals(driver.layers(), []);
  });

  suite.case("metadata and status are there", ({ driver }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    for (const id of ["bottom", "child"]) assert(driver.getMetadata(id).size > 0);
    const status = driver.status();
    assert(status.length > 0);
    assert(status.every(([name, value]) => name !== "" && typeof value === "string"));
  });

  suite.case(
    "cleanup takes down what a killed command left, and nothing else",
    ({ driver, root }) => {
      driver.create("bottom");
      for (const id of ["used", "killed", "foreign"]) {
        driver.create(id, { parent: "bottom" });
        driver.get(id);
      }
      const [foreign, killed] = ["foreign", "killed"].map((id) => driver.layer(id).mountPoint);
      if (foreign !== undefined && killed !== undefined) {
        forgetRecord(driver, "foreign");
        forgetDevice(driver, "killed");
        assertEquals(driver.cleanup(), ["unmounted layer killed"]);
        assert(!isMounted(root, killed));
        assert(isMounted(root, foreign));
        assertEquals(driver.layer("used").references, 1);
        driver.put("foreign", { force: true });
      } else {
        for (const id of ["killed", "foreign"]) driver.put(id); // Layers of this driver need no mount.
      }
      driver.put("used");
    },
  );

  suite.case(
    "a mount without a record is somebody else's, and taken down where told",
    ({ driver }) => {
      driver.create("bottom");
      driver.create("layer", { parent: "bottom" });
      const root = driver.get("layer", { readOnly: true });
      const path = driver.layer("layer").mountPoint!;
      forgetRecord(driver, "layer");
      for (
        const refused of [
          () => driver.get("layer"),
          () => driver.put("layer"),
          () => driver.put("layer", { lazy: true }),
          () => driver.remove("layer"),
        ]
      ) {
        const { message, remedy } = assertFails("in use", refused);
        assert(message.includes(`somebody else at ${path} (mount namespace `), message);
        assert(message.includes("(pid "), message);
        assertEquals(remedy, { kind: "umount foreign", ids: ["layer"] });
      }
      assertEquals([...Deno.readDirSync(root)], []);
      driver.put("layer", { force: true });
      assertFails("failed precondition", () => driver.put("layer", { force: true }));
      driver.remove("layer");
    },
  );

  suite.case(
    "what a killed command mounted is taken down by the next on the layer",
    ({ driver }) => {
      driver.create("bottom");
      driver.create("layer", { parent: "bottom" });
      const kill = () => {
        driver.get("layer", { readOnly: true });
        forgetDevice(driver, "layer");
        assertEquals(driver.layer("layer").references, 0);
      };
      kill();
      assertFails("failed precondition", () => driver.put("layer"));
      assertEquals(driver.layer("layer").mountPoint, undefined);
      kill();
      driver.get("layer");
      assertEquals(driver.layer("layer").references, 1);
      driver.put("layer");
      kill();
      driver.remove("layer");
    },
  );

  suite.case(
    "a busy mount stays, its user is named, and it is detached where told",
    ({ driver }) => {
      driver.create("bottom");
      driver.create("layer", { parent: "bottom" });
      const root = driver.get("layer", { readOnly: true });
      const start = `cd '${root}' && { sleep 600 >/dev/null 2>&1 & echo $!; }`;
      const pid = Number(must("sh", "-c", start));
      must("sh", "-c", `until grep -qx sleep /proc/${pid}/comm; do sleep 0.01; done`);
      try {
        const { message, remedy } = assertFails("in use", () => driver.put("layer"));
        assert(message.includes(`is being used by sleep (pid ${pid})`), message);
        assertEquals(remedy, { kind: "detach", id: "layer" });
        assertEquals(driver.layer("layer").references, 1);
        driver.put("layer", { lazy: true });
        const { references, mountPoint } = driver.layer("layer");
        assertEquals([references, mountPoint], [0, undefined]);
      } finally {
        Deno.kill(pid, "SIGKILL");
        must("tail", `--pid=${pid}`, "-s0.01", "-f", "/dev/null");
      }
      driver.remove("layer");
    },
  );

  suite.case("all users of a mount agree how it is mounted", ({ driver }) => {
    driver.create("layer");
    driver.get("layer");
    const differs = (options: GetOptions) =>
      assertFails("in use", () => driver.get("layer", options)).message;
    assertStringIncludes(differs({ readOnly: true }), "writable and was requested read-only");
    assertStringIncludes(
      differs({ label: "a" }),
      "without a label and was requested with the label a",
    );
    assertStringIncludes(
      differs({ options: ["volatile"] }),
      "not volatile and was requested volatile",
    );
    driver.put("layer");
  });

  suite.case("a layer with children is mounted read-only, as long as it has some", ({ driver }) => {
    driver.create("bottom");
    driver.create("middle", { parent: "bottom" });
    const isReadOnly = (root: string) => {
      try {
        Deno.writeTextFileSync(`${root}/new`, "");
        return false;
      } catch (error) {
        assert(/read-only|EROFS|os error 30/i.test(String(error)), String(error));
        return true;
      }
    };
    const mount = driver.get("middle");
    driver.create("one", { parent: "middle" });
    assertEquals([driver.get("middle"), isReadOnly(mount)], [mount, false], "it stays as it was");
    driver.put("middle");
    driver.put("middle");
    driver.create("two", { parent: "middle" });
    driver.remove("one");
    for (const id of ["bottom", "middle"]) {
      const root = driver.get(id);
      assert(isReadOnly(root), id);
      assertEquals(driver.get(id), root);
      driver.put(id);
      driver.put(id);
    }
    driver.remove("two");
    assert(!isReadOnly(driver.get("middle")));
    driver.put("middle");
  });

  suite.case("the home's own mount stays for the next use, and goes with cleanup", (context) => {
    const { driver, root } = context;
    driver.create("bottom");
    for (const id of ["one", "two"]) {
      driver.create(id, { parent: "bottom" });
      driver.get(id, { readOnly: true });
    }
    driver.put("one");
    assert(isMounted(root, driver.home));
    driver.put("two");
    assert(isMounted(root, driver.home));
    lines(driver.changes("one", "two"));
    driver.cleanup();
    assert(!isMounted(root, driver.home));
  });

  suite.case("mounts says how to mount a layer elsewhere", ({ driver, scratch }) => {
    makeBase(driver, "bottom");
    driver.create("child", { parent: "bottom" });
    for (const id of ["bottom", "child"]) {
      for (const readOnly of [false, true]) {
        const [mount, ...more] = driver.mounts(id, { readOnly });
        assertEquals(more, []);
        const target = `${scratch}/target`;
        Deno.mkdirSync(target, { recursive: true });
        const options = mount.options.join(",");
        // mount(8) takes a bind mount's type for an option.
        const type = mount.type === "bind" ? [] : ["-t", mount.type];
        must("mount", ...type, "-o", options, mount.source, target);
        try {
          assertEquals(Deno.readTextFileSync(`${target}/a file`), "content");
          if (readOnly) assertThrows(() => Deno.writeTextFileSync(`${target}/new`, ""));
        } finally {
          must("umount", target);
        }
      }
    }
  });

  const mapped: IdMaps = {
    uids: new IdMap([{ container: 0, host: 100_000, size: 65_536 }]),
    gids: new IdMap([{ container: 0, host: 200_000, size: 65_536 }]),
  };
  suite.caseMapped("IdMaps", mapped, ({ driver, scratch }) => {
    driver.create("bottom");
    Deno.mkdirSync(`${scratch}/layer`);
    Deno.writeTextFileSync(`${scratch}/layer/file`, "");
    lchownSync(`${scratch}/layer/file`, 5, 6);
    apply(driver, "bottom", tarOf(`${scratch}/layer`, `${scratch}/layer.tar`));
    driver.create("child", { parent: "bottom" });
    for (const id of ["bottom", "child"]) {
      const root = driver.get(id);
      const owner = (path: string) => {
        const { uid, gid } = Deno.lstatSync(path);
        return [uid, gid];
      };
      assertEquals(owner(root), [100_000, 200_000]);
      assertEquals(owner(`${root}/file`), [100_005, 200_006]);
      driver.put(id);
    }
    const tar = diff(driver, "bottom", undefined, scratch);
    assert(/ 5\/6 /.test(must("tar", "--numeric-owner", "-tvf", tar)));
    assertEquals(Deno.readFileSync(diff(driver, "child", undefined, scratch)), EMPTY_TAR);
  });
}

/** Takes away what is known of a layer's mount, as a deleted `/run/veneer` does. */
function forgetRecord(driver: GraphDriver, id: string): void {
  Deno.removeSync(recordOf(driver, id));
}

/** Leaves of a layer's record what a command wrote that was killed before its mount was recorded as made. */
function forgetDevice(driver: GraphDriver, id: string): void {
  const record = recordOf(driver, id);
  const text = Deno.readTextFileSync(record);
  const without = text.replace(/"device":"[\d:]+"/, '"device":""');
  assert(text !== without, text);
  Deno.writeTextFileSync(record, without);
}

const recordOf = ({ home }: GraphDriver, id: string) => join(runState(home), "layers", id);

const isMounted = (root: string, path: string) => mountPoints(root).includes(path);
