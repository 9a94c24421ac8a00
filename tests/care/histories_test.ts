/** Random histories of healthy stores, each ended by a kill: a check finds nothing. */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DRIVERS } from "../../drivers/names.ts";
import { checkStore } from "../../lib/care/check.ts";
import { IS_LONG, lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { randomOf } from "../support/random.ts";
import { storeDir } from "../support/store_dir.ts";
import { check } from "./support.ts";

/** How many histories there are, and how many follow each other on one store. */
const HISTORIES = IS_LONG ? 1000 : 6, ON_ONE_STORE = 3;

const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);

const driver = TEST_FS.startsWith("btrfs") ? "btrfs" : "overlay2";

/** The fewest and the most acts of a history, and the longest time to a kill behind its last, in ms. */
const FEWEST = 10, MOST = 80, MOMENT = 10;

/** Works on a store until a kill at a random moment after a number of acts. */
async function liveOnce(root: string, tars: readonly string[], seed: number): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-all",
      "--no-check",
      join(import.meta.dirname!, "history_child.ts"),
      root,
      driver,
      String(seed),
      ...tars,
    ],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const random = randomOf(seed);
  for (let left = FEWEST + random(MOST - FEWEST); left > 0;) {
    const { value } = await reader.read();
    assert(value !== undefined, "the child ended by itself");
    left -= value.length;
  }
  await new Promise((resolve) => setTimeout(resolve, random(MOMENT)));
  child.kill("SIGKILL");
  await Promise.all([child.status, reader.cancel()]);
}

needs(
  driver === "btrfs" ? undefined : lacksFileSystem("overlay"),
  "care: no finding in healthy stores, whatever they lived through",
  async () => {
    const { loadChecks } = DRIVERS.find(({ name }) => name === driver)!;
    const checks = await loadChecks!();
    let layers = 0, snapshots = 0;
    for (let history = 0; history < HISTORIES; history += ON_ONE_STORE) {
      using dir = storeDir();
      const root = join(dir.path, "root");
      const tars = ["one", "two"].map((name) => {
        const tree = join(dir.path, name), tar = `${tree}.tar`;
        must("mkdir", "-p", join(tree, "etc/deep"));
        for (let i = 0; i < 40; i++) {
          Deno.writeTextFileSync(join(tree, `etc/${name}${i}`), `${name} ${i}`.repeat(i));
        }
        must("ln", join(tree, `etc/${name}1`), join(tree, "etc/deep/linked"));
        if (name === "two") Deno.writeTextFileSync(join(tree, ".wh.file1"), "");
        must("tar", "-C", tree, "-cf", tar, ".");
        return tar;
      });
      for (let i = 0; i < ON_ONE_STORE; i++) {
        const seed = SEED * 100_000 + history + i;
        await liveOnce(root, tars, seed);
        for (const  of of["layers", "snapshots"] as const) {
          const checked = checkStore({ root, driver, of, checks, deep: true }, 0);
          if (checked === undefined) continue;
          const found = checked.findings.filter(({ isNote }) => !isNote);
          assertEquals(found, [], `after the history of seed ${seed}`);
          if (of === "layers") layers += checked.count;
          else snapshots += checked.count;
        }
      }
      {
        using store = openDriver({ root, driver, warn: () => {} });
        for (const { id, references } of store.layers()) {
          for (let i = 0; i < references; i++) store.put(id, { lazy: true });
        }
        store.cleanup();
        using others = openSnapshotter({ root, driver, warn: () => {} });
        others.cleanup();
      }
      assertEquals(check(root, driver).findings, []);
      assertEquals(check(root, driver, "snapshots").findings, []);
    }
    assert(layers > 0 && snapshots > 0, `${layers} layers, ${snapshots} snapshots`);
  },
);
