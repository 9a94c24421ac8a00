/**
 * Many processes on one store of snapshots: each has what it made, of those that want the same one gets it, and
 * the others are told so.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { IS_LONG, mountPoints, needs } from "../../support/cases.ts";
import { openStore } from "../kill/snapshotter.ts";
import { commitChanged, treeOf, write } from "./mounting.ts";
import { assertConsistent, type LayersOnDisk, removeAll } from "./store.ts";
import { storeDir } from "../../support/store_dir.ts";
import type { Said } from "./worker.ts";

const PROCESSES = IS_LONG ? 50 : 24;

const COMMIT_LOST = ["not found", "already exists"];

/** Registers the cases of a driver. */
export function snapshotterProcessCases(
  driver: string,
  lacking: string | undefined,
  layers: LayersOnDisk,
): void {
  const onStore = (name: string, body: (path: string) => Promise<void>) =>
    needs(lacking, `${driver} snapshots: ${PROCESSES} processes at once ${name}`, async () => {
      using dir = storeDir();
      const scratch = join(dir.path, "scratch");
      Deno.mkdirSync(scratch);
      const snapshots = openStore(join(dir.path, "root"), driver);
      commitChanged(snapshots, scratch, {
        name: "base",
        change: (root) => write(`${root}/below`, "base"),
      });
      await body(dir.path);
      assertEquals(mountPoints(dir.path), []);
      assertConsistent(snapshots, layers);
      removeAll(snapshots);
      assertConsistent(snapshots, layers);
      snapshots.close();
    });

  onStore("prepare, fill, commit and remove", async (path) => {
    const said = await runAll(path, driver, "own");
    const left = said.flatMap(({ left }) => left);
    assertEquals(left.length, PROCESSES * 3);
    const snapshots = openStore(join(path, "root"), driver);
    const names = [...snapshots.walk()].map(({ name }) => name);
    assertEquals(names, ["base", ...left].sort());
    for (const name of left) {
      const tree = treeOf(snapshots, join(path, "scratch"), name);
      assertEquals([...tree.keys()], ["/below", "/own"], name);
    }
    snapshots.close();
  });

  onStore("want the same key, name and parent", async (path) => {
    const snapshots = openStore(join(path, "root"), driver);
    snapshots.prepare("victim", "base");
    snapshots.prepare("key", "base");
    snapshots.commit("doomed", "key");
    snapshots.prepare("shared", "base");
    const said = await runAll(path, driver, "fight");
    const count = (what: string) => {
      const counts: Record<string, number> = {};
      for (const { outcomes } of said) {
        if (what in outcomes) counts[outcomes[what]] = (counts[outcomes[what]] ?? 0) + 1;
      }
      return counts;
    };
    assertEquals(count("prepare"), { "done": 1, "already exists": PROCESSES - 1 });
    assertEquals(count("name"), { "done": 1, "already exists": PROCESSES - 1 });
    // The key is gone then, and the name is taken: either may be said.
    const { done, ...lost } = count("commit");
    assertEquals([done, Object.keys(lost).filter((code) => !COMMIT_LOST.includes(code))], [1, []]);
    assertEquals(count("remove"), { "done": 1, "not found": PROCESSES - 1 });
    assertEquals(count("prepare again"), { "done": PROCESSES });

    const removed = count("remove parent"), built = count("prepare on parent");
    const isGone = (removed["done"] ?? 0) === 1;
    const builders = Math.ceil(PROCESSES / 2), removers = PROCESSES - builders;
    assertEquals(built["done"] ?? 0, isGone ? 0 : builders, "none, or all that wanted to");
    assertEquals(built["not found"] ?? 0, isGone ? builders : 0);
    assertEquals(removed["failed precondition"] ?? 0, isGone ? 0 : removers);
    assertEquals(removed["not found"] ?? 0, isGone ? removers - 1 : 0);
    assertEquals(snapshots.exists("doomed"), !isGone);
    assertEquals([...snapshots.walk(["parent==doomed"])].length, isGone ? 0 : builders);
    assertEquals(snapshots.stat("wanted").kind, "active");
    for (const name of ["wanted name", "shared name"]) assert(snapshots.exists(name), name);
    snapshots.close();
  });
}

/** Starts the processes, lets them go at once, and gathers what they say. */
async function runAll(path: string, driver: string, job: string): Promise<Said[]> {
  const script = join(import.meta.dirname!, "worker.ts");
  const workers = Array.from({ length: PROCESSES }, (_, n) => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--no-check", script, path, driver, job, `${n}`],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const stderr = new Response(child.stderr).text();
    return { child, stderr, stdout: child.stdout.getReader() };
  });
  for (const { stdout, stderr } of workers) {
    if ((await stdout.read()).value === undefined) throw new Error(await stderr);
  }
  await Promise.all(workers.map(({ child }) => child.stdin.close()));
  return await Promise.all(workers.map(async ({ child, stderr, stdout }) => {
    let text = "";
    for (;;) {
      const { value } = await stdout.read();
      if (value === undefined) break;
      text += new TextDecoder().decode(value);
    }
    const { success } = await child.status;
    assertEquals([success, await stderr], [true, ""]);
    return JSON.parse(text) as Said;
  }));
}
