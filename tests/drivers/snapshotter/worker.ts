/**
 * One of many processes on a store of snapshots; does its job when its input ends, and prints what came of it.
 *
 *     worker.ts DIRECTORY DRIVER own|fight NUMBER
 */
import { assertEquals } from "@std/assert";
import { codeOf } from "../../../lib/base/errors.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { openStore } from "../kill/snapshotter.ts";
import { mounted, treeOf, write } from "./mounting.ts";

/** What a process prints. */
export interface Said {
  /** The names of what it made and did not remove. */
  readonly left: readonly string[];
  /** How what it wanted ended: `done`, or the error's code. */
  readonly outcomes: Readonly<Record<string, string>>;
}

const ROUNDS = 5;

function own(snapshots: Snapshotter, scratch: string, n: number): Said {
  const left: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const key = `key ${n}/${round}`, name = `name ${n}/${round}`;
    const labels = new Map([["process", `${n}`]]);
    snapshots.prepare(key, "base", { labels });
    assertEquals(snapshots.stat(key).labels, labels);
    mounted(snapshots, key, scratch, (root) => write(`${root}/own`, name));
    snapshots.commit(name, key, { labels });
    const found = [...snapshots.walk([`labels.process==${n}`])].map(({ name }) => name);
    assertEquals(found, [...left, name]);
    assertEquals([...treeOf(snapshots, scratch, name).keys()], ["/below", "/own"]);
    if (round % 2) snapshots.remove(name);
    else left.push(name);
  }
  return { left, outcomes: {} };
}

function fight(snapshots: Snapshotter, n: number): Said {
  const outcomes: Record<string, string> = {};
  const attempt = (what: string, action: () => unknown) => {
    try {
      action();
      outcomes[what] = "done";
    } catch (error) {
      outcomes[what] = codeOf(error);
    }
  };
  attempt("prepare", () => snapshots.prepare("wanted", "base"));
  const key = `own ${n}`;
  snapshots.prepare(key, "base");
  attempt("name", () => snapshots.commit("wanted name", key));
  if (outcomes["name"] !== "done") snapshots.remove(key);
  attempt("commit", () => snapshots.commit(`shared name`, "shared"));
  attempt("remove", () => snapshots.remove("victim"));
  if (n % 2) attempt("remove parent", () => snapshots.remove("doomed"));
  else attempt("prepare on parent", () => snapshots.prepare(`on doomed ${n}`, "doomed"));
  attempt("prepare again", () => {
    snapshots.prepare(key, "wanted name");
    snapshots.remove(key);
  });
  return { left: [], outcomes };
}

if (import.meta.main) {
  const [path, driver, job, n] = Deno.args;
  const scratch = `${path}/scratch`;
  const snapshots = openStore(`${path}/root`, driver);
  Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
  Deno.stdin.readSync(new Uint8Array(1));
  const said = job === "own" ? own(snapshots, scratch, Number(n)) : fight(snapshots, Number(n));
  snapshots.close();
  console.log(JSON.stringify(said));
}
