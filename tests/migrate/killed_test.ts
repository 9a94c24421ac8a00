/** `migrate` killed at random moments: run again, it ends with all that the source shows. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { IS_LONG, lacksFileSystem, needs, run } from "../support/cases.ts";
import { PROGRAM } from "../support/commands.ts";
import { randomOf } from "../support/random.ts";
import { mountImage } from "../runner/images.ts";
import { storeDir } from "../support/store_dir.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { BOX, OWN, writeDockerStore } from "../images/literal_docker_store.ts";
import { isThere, names, read } from "../support/files.ts";
import { assertSame } from "../drivers/same_tree/suite.ts";
import { factsOf, makeStores, outcomeOf, type Place, words } from "./support.ts";

const KILLS = IS_LONG ? 100 : 6;
const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);
const lacking = lacksFileSystem("overlay") ?? lacksFileSystem("btrfs");

/**
 * The time by which the next kill is chosen: the first migration, which took that time, may have been the slowest by
 * far.
 */
const next = (usual: number, first: number, wasKilled: boolean) =>
  Math.min(first, usual * (wasKilled ? 1.1 : 0.9));

/** Migrates; killed after some milliseconds unless it has ended. Returns whether it was. */
const migrateFor = (from: Place, to: Place, milliseconds: number) =>
  runFor(words(from, to), milliseconds);

/** Runs a command that must succeed, unless it is killed. */
async function runFor(args: readonly string[], milliseconds: number): Promise<boolean> {
  const [program, ...first] = PROGRAM;
  const child = new Deno.Command(program, {
    args: [...first, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => {
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It has just ended.
    }
  }, milliseconds);
  const { signal, code, stderr } = await child.output();
  clearTimeout(timer);
  assert(signal === "SIGKILL" || code === 0, new TextDecoder().decode(stderr));
  return signal === "SIGKILL";
}

/** Removes all that a store has, so that the next migration makes it again. */
function empty(place: Place): void {
  using layers = openDriver(place);
  for (let left = layers.layers(); left.length > 0; left = layers.layers()) {
    const parents = new Set(left.map(({ parent }) => parent));
    for (const { id } of left) if (!parents.has(id)) layers.remove(id);
  }
  using snapshots = openSnapshotter(place);
  for (let left = [...snapshots.walk()]; left.length > 0; left = [...snapshots.walk()]) {
    const parents = new Set(left.map(({ parent }) => parent));
    for (const { name } of left) if (!parents.has(name)) snapshots.remove(name);
  }
}

needs(lacking, `migrate: killed ${KILLS} times, it goes on where it was`, async () => {
  using dir = storeDir();
  using image = mountImage("btrfs", dir.path);
  const from: Place = { root: join(dir.path, "root"), driver: "overlay2" };
  const to: Place = { root: join(image.mountPoint, "store"), driver: "btrfs" };
  makeStores(from, dir.path, [4]);
  const facts = factsOf(from), random = randomOf(SEED);
  const started = performance.now();
  assertEquals(await migrateFor(from, to, 600_000), false);
  const first = performance.now() - started;
  empty(to);
  let killed = 0, whole = 0, usual = first;
  for (let tries = 0; killed < KILLS; tries++) {
    assert(tries < 10 * KILLS, `${tries} tries of seed ${SEED}, and only ${killed} were killed`);
    const wasKilled = await migrateFor(from, to, usual * (0.2 + random(700) / 1000));
    usual = next(usual, first, wasKilled);
    if (wasKilled) killed++;
    else {
      assertSame(factsOf(to), facts, `after ${killed} kills of seed ${SEED}`);
      whole++;
      empty(to);
    }
  }
  const { code, stores, stderr } = outcomeOf(from, to, "--verify");
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertSame(factsOf(to), facts, `after ${killed} kills of seed ${SEED}`);
  const kept = stores.map(({ kept }) => kept.length), made = stores.map((s) => s.migrated.length);
  console.log(`${killed} kills, ${whole} whole between; at last ${kept} were there, ${made} made`);
  assertEquals(run("btrfs", "subvolume", "list", to.root).stdout.match(/staging/), null);
});

needs(lacking, `migrate --docker: killed ${KILLS} times, Docker finds all or nothing`, async () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), records = join(root, "image/overlay2");
  const config = join(root, "containers", BOX, "config.v2.json");
  const begin = () => {
    Deno.removeSync(root, { recursive: true });
    writeDockerStore(root, "aufs");
  };
  Deno.mkdirSync(root);
  begin();
  const args = ["migrate", "--docker", root, "--to", "overlay2"], random = randomOf(SEED);
  const started = performance.now();
  assertEquals(await runFor(args, 600_000), false);
  const first = performance.now() - started, whole = names(records);
  begin();
  let killed = 0, usual = first;
  for (let tries = 0; killed < KILLS; tries++) {
    assert(tries < 10 * KILLS, `${tries} tries of seed ${SEED}, and only ${killed} were killed`);
    const wasKilled = await runFor(args, usual * (0.3 + random(700) / 1000));
    usual = next(usual, first, wasKilled);
    const { Driver: driver } = JSON.parse(read(config)), hasRecords = isThere(records);
    if (hasRecords) assertEquals(names(records), whole);
    assert(driver === "aufs" || hasRecords, `after ${killed} kills of seed ${SEED}`);
    if (wasKilled) killed++;
    else {
      assertEquals([driver, hasRecords], ["overlay2", true]);
      begin();
    }
  }
  assertEquals(await runFor([...args, "--verify"], 600_000), false);
  assertEquals(JSON.parse(read(config)).Driver, "overlay2");
  assertEquals(read(join(root, "overlay2", OWN, "diff/new")), "new");
});
