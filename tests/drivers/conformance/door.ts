/** How programs come to a store's content and leave: files of tars, changes one by one, and the end. */
import { assert, assertEquals } from "@std/assert";
import { O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { mountPoints } from "../../support/cases.ts";
import { lines, tarOf } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";
import { EMPTY_TAR, fill } from "../../support/layers.ts";
import type { Suite } from "./suite.ts";

const write = (name: string) => (root: string) => Deno.writeTextFileSync(`${root}/${name}`, name);

/** Whether a layer's content is kept as it is. */
function assertHeld(driver: GraphDriver, id: string, tar: string): void {
  assertFails("in use", () => driver.remove(id));
  assertFails("in use", () => driver.applyDiff(id, undefined, tar));
}

export function door(suite: Suite): void {
  suite.case("changes are opened by the call, and held until they are read", (context) => {
    const { driver, scratch, reopen } = context;
    const tar = `${scratch}/empty.tar`;
    Deno.writeFileSync(tar, EMPTY_TAR);
    fill(driver, "bottom", write("below"));
    fill(driver, "child", (root) => ["x", "y"].forEach((name) => write(name)(root)), "bottom");
    const other = reopen();

    assertFails("not found", () => driver.changes("nothing", undefined));
    assertFails("not found", () => driver.changes("child", "nothing"));
    for (const parent of [undefined, ""]) {
      const changes = driver.changes("child", parent);
      assertHeld(other, "child", tar);
      assertEquals(lines(changes).filter((line) => /[xy]$/.test(line)), ["A /x", "A /y"]);
      assertEquals(changes.next(), { done: true, value: undefined });
      for (const _ of driver.changes("child", parent)) break;
      {
        using unread = driver.changes("child", parent);
        assertHeld(other, "child", tar);
        assert(!unread.next().done);
      }
      driver.changes("child", parent)[Symbol.dispose]();
    }
    assertEquals(driver.applyDiff("child", undefined, tar), 0, "nothing holds it any more");
    other.remove("child");
  });

  suite.case("a tar's file is a descriptor, a Deno.FsFile or a path", ({ driver, scratch }) => {
    Deno.mkdirSync(`${scratch}/tree`);
    Deno.writeTextFileSync(`${scratch}/tree/file`, "content");
    const tar = tarOf(`${scratch}/tree`, `${scratch}/tree.tar`);
    const url = new URL(`file://${tar}`);
    using file = Deno.openSync(tar);
    const inputs = { path: tar, url, file };
    for (const [id, input] of Object.entries(inputs)) {
      driver.create(id);
      assertEquals(driver.applyDiff(id, undefined, input), 7);
    }
    driver.create("fd");
    withFd(open(tar, O_RDONLY), (fd) => driver.applyDiff("fd", undefined, fd));
    file.statSync(); // It stays open.

    using output = Deno.openSync(`${scratch}/file.tar`, { write: true, createNew: true });
    const bytes = driver.diff("file", undefined, output);
    assertEquals(driver.diff("path", undefined, `${scratch}/path.tar`), bytes);
    assertEquals(driver.diff("fd", undefined, new URL(`file://${scratch}/url.tar`)), bytes);
    const contents = ["file", "path", "url"].map((name) =>
      Deno.readFileSync(`${scratch}/${name}.tar`)
    );
    assertEquals(contents.map(({ length }) => length), [bytes, bytes, bytes]);
    assertEquals(output.seekSync(0, Deno.SeekMode.Current), bytes);

    assertFails("not found", () => driver.diff("nothing", undefined, `${scratch}/nothing.tar`));
    assertFails("invalid argument", () => driver.diff("fd", undefined, -1));
    assertFails("invalid argument", () => driver.diff("fd", undefined, scratch));
    assertFails("invalid argument", () => driver.applyDiff("fd", undefined, output));
    assertEquals([...Deno.readDirSync(scratch)].filter(({ name }) => name.includes("nothing")), []);
  });

  suite.case("a closed store is given back and refuses, and another goes on", (context) => {
    const { driver: other, root, reopen } = context;
    const driver = reopen();
    fill(driver, "bottom", write("below"));
    driver.create("child", { parent: "bottom" });
    driver.get("child");
    other.get("child");
    driver.put("child");
    driver.close();
    assert(other.layer("child").references === 1, "what is mounted stays mounted");
    other.put("child");
    const calls: ((driver: GraphDriver) => unknown)[] = [
      (driver) => driver.status(),
      (driver) => driver.layers(),
      (driver) => driver.exists("child"),
      (driver) => driver.get("child"),
      (driver) => driver.changes("child", undefined),
      (driver) => driver.create("more"),
      (driver) => driver.cleanup(),
    ];
    for (const call of calls) {
      const { message } = assertFails("failed precondition", () => void call(driver));
      assertEquals(message, `the store at ${driver.home} was closed; open it again`);
    }
    assertEquals([driver.name, driver.home], [other.name, other.home]);
    driver.close();
    {
      using again = reopen();
      again.get("child", { readOnly: true });
      again.put("child");
    }
    assertEquals(mountPoints(root), [], "with the last use the home's own mount went");
  });
}
