/** Id maps of layers: those that a layer was made with stay its own, whoever opens the store with what. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { lchownSync } from "node:fs";
import { join } from "@std/path";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY, IdMap, type IdMaps } from "../../../lib/base/id_maps.ts";
import { must } from "../../support/cases.ts";
import { dir, file, tar } from "../../tar/support/tar_builder.ts";
import { apply, diff, fill } from "../../support/layers.ts";
import { lines } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";
import type { Suite } from "./suite.ts";

const MAPS: IdMaps = {
  uids: IdMap.parse(["0:100000:65536"]),
  gids: IdMap.parse(["0:200000:65536"]),
};
const OTHERS: IdMaps = { uids: IdMap.parse(["0:300000:65536"]), gids: MAPS.gids };

/** Owners of files in a tar, by GNU tar. */
const ownersIn = (path: string) =>
  must("tar", "--numeric-owner", "-tvf", path).trim().split("\n").map((line) => {
    const words = line.split(/\s+/);
    return `${words.at(-1)} ${words[1]}`;
  }).filter((line) => !line.startsWith("./ "));

function ownerOf(driver: GraphDriver, id: string, name: string): string {
  const root = driver.get(id, { readOnly: true });
  try {
    const { uid, gid } = Deno.lstatSync(join(root, name));
    return `${uid}:${gid}`;
  } finally {
    driver.put(id);
  }
}

export function idMaps(suite: Suite): void {
  const write = (scratch: string, name: string, content: Uint8Array<ArrayBuffer>) => {
    const path = join(scratch, name);
    Deno.writeFileSync(path, content);
    return path;
  };

  suite.caseMapped("the id maps of a layer are recorded and used again", MAPS, (store) => {
    const { driver, reopen, scratch } = store;
    const ours = write(scratch, "ours.tar", tar(file("f", "content", { uid: 5, gid: 6 })));
    driver.create("bottom");
    apply(driver, "bottom", ours);
    const whole = Deno.readFileSync(diff(driver, "bottom", undefined, scratch));

    const plain = reopen(IDENTITY);
    assertEquals(ownerOf(plain, "bottom", "f"), "100005:200006");
    const again = diff(plain, "bottom", undefined, scratch);
    assertEquals(Deno.readFileSync(again), whole);
    assertEquals(ownersIn(again), ["f 5/6"]);
    const { uids, gids } = { uids: "0:100000:65536", gids: "0:200000:65536" };
    assertEquals(plain.getMetadata("bottom").get("UidMap"), uids);
    assertEquals(plain.getMetadata("bottom").get("GidMap"), gids);

    // Children have their parent's.
    fill(plain, "written", (root) => {
      Deno.writeTextFileSync(join(root, "own"), "");
      lchownSync(join(root, "own"), 100007, 200008);
    }, "bottom");
    assertEquals(ownersIn(diff(plain, "written", undefined, scratch)), ["own 7/8"]);
    plain.create("applied", { parent: "bottom" });
    apply(plain, "applied", write(scratch, "a.tar", tar(file("g", "", { uid: 9, gid: 10 }))));
    assertEquals(ownerOf(plain, "applied", "g"), "100009:200010");
    assertEquals(ownersIn(diff(driver, "applied", undefined, scratch)), ["g 9/10"]);

    // One that is started over belongs to the same ids.
    driver.create("again");
    const cut = write(scratch, "cut.tar", tar(dir("d"), file("d/e", "x")).slice(0, 1100));
    assertFails("invalid argument", () => apply(plain, "again", cut));
    apply(plain, "again", ours);
    assertEquals(ownerOf(plain, "again", "."), "100000:200000");
    assertEquals(ownersIn(diff(plain, "again", undefined, scratch)), ["f 5/6"]);
  });

  suite.caseMapped("other id maps than a layer's are refused", MAPS, (store) => {
    const { driver, reopen, scratch } = store;
    const ours = write(scratch, "ours.tar", tar(file("f", "content", { uid: 5, gid: 6 })));
    driver.create("bottom");
    apply(driver, "bottom", ours);
    driver.create("child", { parent: "bottom" });
    const other = reopen(OTHERS);
    const calls = [
      () => void other.get("child"),
      () => void diff(other, "child", undefined, scratch),
      () => void lines(other.changes("child", undefined)),
      () => void other.diffSize("child", undefined),
      () => void apply(other, "child", ours),
      () => other.create("new", { parent: "bottom" }),
      () => void other.mounts("child"),
    ];
    for (const call of calls) {
      const { message } = assertFails("invalid argument", call);
      assertStringIncludes(message, "was made with user ids 0:100000:65536");
      assertStringIncludes(message, "not with user ids 0:300000:65536");
    }
    assertEquals(other.layers().map(({ id, incomplete }) => [id, incomplete]), [
      ["bottom", false],
      ["child", false],
    ]);
    // What is mounted can be given back, and a layer removed, with any.
    driver.get("child");
    other.put("child");
    assertEquals(other.layer("child").references, 0);
    other.remove("child");
    // Nothing is remembered of a layer that is gone.
    other.create("child");
    assertEquals(other.getMetadata("child").get("UidMap"), "0:300000:65536");
    other.remove("child");
    reopen(IDENTITY).create("child");
    assertEquals(driver.getMetadata("child").has("UidMap"), false);
  });

  suite.case("a layer without a record takes the id maps of its first tar", (store) => {
    const { driver, reopen, scratch } = store;
    const ours = write(scratch, "ours.tar", tar(file("f", "content", { uid: 5, gid: 6 })));
    for (const id of ["bottom", "unrecorded", "failed"]) driver.create(id);
    apply(driver, "unrecorded", ours);
    const mapped = reopen(MAPS);
    // Files of the store's own ids, read as a command says: nothing tells otherwise.
    assertFails("invalid argument", () => diff(mapped, "unrecorded", undefined, scratch));
    assertEquals(ownersIn(diff(driver, "unrecorded", undefined, scratch)), ["f 5/6"]);
    apply(mapped, "bottom", ours);
    assertEquals(ownerOf(driver, "bottom", "f"), "100005:200006");
    assertEquals(ownerOf(driver, "bottom", "."), "100000:200000");
    assertEquals(ownersIn(diff(driver, "bottom", undefined, scratch)), ["f 5/6"]);

    // What failed with the wrong ones is started over with others.
    const narrow = { uids: IdMap.parse(["0:100000:2"]), gids: MAPS.gids };
    assertFails("invalid argument", () => apply(reopen(narrow), "failed", ours));
    apply(mapped, "failed", ours);
    assertEquals(ownersIn(diff(driver, "failed", undefined, scratch)), ["f 5/6"]);
    assertFails("invalid argument", () => apply(reopen(OTHERS), "failed", ours));
    assertEquals(driver.layer("failed").incomplete, false);
  });

  suite.caseMapped(
    "a damaged record of id maps is named, and hinders no other layer",
    MAPS,
    (store) => {
      const { driver, scratch } = store;
      for (const id of ["damaged", "sound"]) driver.create(id);
      driver.get("damaged");
      const record = join(driver.home, ".veneer/id-maps/damaged");
      for (
        const text of ["", "0:1:2", "0:0:1\n0:0:1\n0:0:1", "a\nb", `${"0:1:2,".repeat(20000)}\n`]
      ) {
        Deno.writeTextFileSync(record, text);
        for (
          const call of [
            () => void driver.get("damaged"),
            () => void diff(driver, "damaged", undefined, scratch),
            () => driver.create("child", { parent: "damaged" }),
          ]
        ) assertStringIncludes(assertFails("corrupt store", call).message, record);
        assertEquals(lines(driver.changes("sound", undefined)), []);
      }
      assertEquals(driver.layers().length, 2);
      driver.put("damaged");
      driver.remove("damaged");
      assert(!driver.exists("damaged"));
      driver.create("damaged");
      driver.get("damaged");
      driver.put("damaged");
    },
  );
}
