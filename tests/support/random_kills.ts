/**
 * Kills commands at random moments, one after another. After each, the next commands must find an
 * intact store. `VENEER_TEST_SEED` is the seed of the random choices.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { must } from "./cases.ts";
import { end, type ImageStore, start } from "./processes.ts";
import { randomOf } from "./random.ts";

const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);
const ALLOWED: ErrorCode[] = ["not found", "already exists", "in use", "failed precondition"];

/**
 * The commands, in which `L` is a layer, `K` a snapshot's key and `N` a name. The tar has two
 * megabytes.
 */
const KILLED = [
  "create L --parent bottom",
  "create L --parent L",
  "apply L TAR",
  "apply L TAR",
  "mount L",
  "umount L",
  "diff L --output OUT",
  "diff L --parent= --output OUT",
  "rm L",
  "cleanup",
  "snapshot prepare K --parent=",
  "snapshot prepare K --parent N",
  "snapshot view K --parent N",
  "snapshot mount K",
  "snapshot umount K",
  "snapshot commit N K",
  "snapshot usage",
  "snapshot rm K",
  "snapshot rm N",
  "snapshot cleanup",
];

/** Kills a process, if it has not ended by itself. */
function tryKill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/** The mounts after a cleanup that belong to no counted layer and to no snapshot. */
function orphans(store: ImageStore): string[] {
  store.must("cleanup");
  store.must("snapshot", "cleanup");
  const layers = store.json<{ mountPoint?: string; references: number }[]>("ls");
  const counted = layers.filter(({ references }) => references > 0).map((layer) =>
    layer.mountPoint
  );
  const known = [
    ...counted,
    join(store.root, store.driver),
    join(store.root, "snapshots", store.driver),
  ];
  const ofSnapshots = join(store.root, "snapshots", store.driver, "mounts");
  const keys = store.json<{ layer: string }[]>("snapshot", "ls")
    .map(({ layer }) => join(ofSnapshots, layer));
  return store.mountPoints().filter((point) => !known.includes(point) && !keys.includes(point));
}

/** Commands that read a store. */
const LOOKS = [["ls"], ["tree"], ["snapshot", "ls"], ["doctor"], ["check"]];

/**
 * Kills commands on a store, reads the store after each kill, and removes everything at the end.
 *
 * @param looks commands that must work after each kill, all at the same time
 */
export async function killAtRandom(store: ImageStore, kills: number, looks = LOOKS): Promise<void> {
  const random = randomOf(SEED);
  const tree = store.path("tree"), tar = store.path("layer.tar");
  Deno.mkdirSync(tree);
  for (let i = 0; i < 64; i++) {
    Deno.writeFileSync(join(tree, `${i}`), new Uint8Array(1 << 15).fill(i));
  }
  must("tar", "-C", tree, "-cf", tar, ".");
  store.must("create", "bottom");
  store.must("apply", "bottom", tar);
  // Both kinds of stores exist from the beginning.
  store.must("snapshot", "prepare", "first");
  store.must("snapshot", "rm", "first");
  /** The duration of each command when it was last not killed, in milliseconds. */
  const lasted = new Map<string, number>();
  let killed = 0, commands = 0;
  for (; killed < kills; commands++) {
    const pattern = KILLED[random(KILLED.length)];
    const words = pattern.split(" ").map((word) => {
      if (word === "TAR") return tar;
      if (word === "OUT") return store.path("out.tar");
      return /^[LKN]$/.test(word) ? `${word.toLowerCase()}${random(3)}` : word;
    });
    // The first command of each kind is not killed, so that its duration on this machine is known.
    const usual = lasted.get(pattern), part = 0.3 + random(1000) / 1000;
    const started = performance.now();
    const child = start(store, ...words);
    const timer = usual && setTimeout(() => tryKill(child), usual * part);
    const { code, stderr } = await end(child);
    clearTimeout(timer);
    const what = `command ${commands} of seed ${SEED}: veneer ${words.join(" ")}`;
    if (code === 128 + 9) killed++;
    else {
      lasted.set(pattern, performance.now() - started);
      const codes = [0, ...ALLOWED.map((code) => EXIT_STATUS[code])] as number[];
      assert(codes.includes(code), `${what}: ${code}: ${stderr}`);
      continue;
    }
    for (const ended of await Promise.all(looks.map((look) => end(start(store, ...look))))) {
      assertEquals([ended.code, ended.stderr], [0, ""], `after ${what} was killed`);
    }
    if (killed % 5 === 0) assertEquals(orphans(store), [], `after ${what}`);
  }
  assertEquals(store.must("changes", "bottom", "--parent=").split("\n").length, 64 + 1);
  console.log(`seed ${SEED}: ${killed} of ${commands} commands killed`);
  store.removeAll();
}
