/** `migrate` from overlay2 to btrfs and back: everything that a store shows is the same. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { mountImage } from "../runner/images.ts";
import { storeDir } from "../support/store_dir.ts";
import { assertSame } from "../drivers/same_tree/suite.ts";
import { factsOf, makeStores, migrate, outcomeOf, type Place } from "./support.ts";

const lacking = lacksFileSystem("overlay") ?? lacksFileSystem("btrfs");

/**
 * Every file of a home of overlay2 with its facts, but for Veneer's own records and for the times of
 * directories that mounts are made in: to see that a store was not changed.
 */
const filesOf = (home: string) =>
  must(
    "sh",
    "-c",
    `cd "$0" && find . -path ./.veneer -prune -o \\( -path "./*/diff*" -printf "%P %y %m %U:%G %l %T@\\n" \\
      -o -printf "%P %y %m %U:%G %l\\n" \\) | LC_ALL=C sort`,
    home,
  ).split("\n");

needs(lacking, "migrate: overlay2, btrfs and overlay2 show the same", async (t) => {
  using dir = storeDir();
  using image = mountImage("btrfs", dir.path);
  const first: Place = { root: join(dir.path, "root"), driver: "overlay2" };
  const second: Place = { root: join(image.mountPoint, "store"), driver: "btrfs" };
  const third: Place = { root: join(dir.path, "third"), driver: "overlay2" };
  makeStores(first, dir.path, [1, 2]);
  const before = filesOf(join(first.root, "overlay2"));
  const count = { layers: 0, snapshots: 0 };

  await t.step("to btrfs", () => {
    const { code, stores, stderr } = outcomeOf(first, second, "--verify");
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    for (const { of, migrated, kept, failed, verified } of stores) {
      count[of as keyof typeof count] = migrated.length;
      const views = migrated.filter((id) => of === "snapshots" && id.endsWith("-view")).length;
      assertEquals(
        [kept.length, failed.length, verified.length],
        [0, 0, migrated.length - views],
        of,
      );
    }
    assertEquals(stores.map(({ of }) => of), ["layers", "snapshots"]);
  });

  await t.step("the source is not changed", () => {
    assertSame(filesOf(join(first.root, "overlay2")), before, "files");
  });

  await t.step("what is done is not done again", () => {
    const printed = migrate(first, second);
    assertStringIncludes(printed, `0 layers migrated from ${first.root}/overlay2`);
    assertStringIncludes(printed, `${count.layers} there already`);
    assertStringIncludes(printed, `${count.snapshots} there already`);
  });

  await t.step("back to overlay2, and all is the same", () => {
    migrate(second, third);
    const facts = factsOf(first);
    assertSame(factsOf(second), facts, "btrfs");
    assertSame(factsOf(third), facts, "overlay2 again");
    console.log(`${count.layers} layers, ${count.snapshots} snapshots: ${facts.length} lines`);
  });
});
