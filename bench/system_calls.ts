/**
 * The system calls of a service for one call, as `strace` counts them: a lone client's, so that none is shared.
 *
 * @module
 */
import { join } from "@std/path";
import { commit, make, ofKey } from "../tests/services/snapshots_client.ts";
import type { Service } from "./service_sides.ts";
import { DIRECTORY } from "./subject.ts";

/** Calls that are traced together; the counts are their mean. */
const CALLS = 64;

/** Calls of fewer than this are left out: those of a timer or of the collection of garbage. */
const LEAST = 0.5;

/** The time for the tracer to attach, and for what the calls before leave behind, in milliseconds. */
const SETTLING = 1500;

type Act = (side: Service, n: number) => Promise<void>;

const key = (n: number) => ofKey(`traced ${n}`), name = (n: number) => ofKey(`named ${n}`);
const prepare: Act = (side, n) => side.call("Prepare", make(`traced ${n}`, "base", side.labels));
const remove: Act = (side, n) => side.call("Remove", key(n));
const nothing: Act = async () => {};

const KINDS: readonly (readonly [what: string, before: Act, one: Act, after: Act])[] = [
  ["prepare", nothing, prepare, remove],
  [
    "commit",
    prepare,
    (side, n) => side.call("Commit", commit(`named ${n}`, `traced ${n}`, side.labels)),
    (side, n) => side.call("Remove", name(n)),
  ],
  ["remove", prepare, remove, nothing],
  ["mounts", nothing, (side) => side.call("Mounts", ofKey("active")), nothing],
];

/** Prints the counts of each kind of call for each service, which has the snapshots of `measureCalls`. */
export async function printSystemCalls(sides: readonly Service[]): Promise<void> {
  for (const [what, before, one, after] of KINDS) {
    console.log(`\nsystem calls of a ${what}, by strace`);
    for (const side of sides) {
      const counts = await traced(side, before, one);
      await inTurn(side, after);
      await side.settle();
      const all = counts.reduce((sum, [, count]) => sum + count, 0);
      const shown = counts.filter(([, count]) => count >= LEAST)
        .map(([call, count]) => `${call} ${count.toFixed(1)}`);
      console.log(`  ${side.name.padEnd(44)} ${all.toFixed(0)}: ${shown.join(", ")}`);
    }
  }
}

async function inTurn(side: Service, act: Act): Promise<void> {
  for (let n = 0; n < CALLS; n++) await act(side, n);
}

/** The system calls for each call, the most frequent ones first. */
async function traced(side: Service, before: Act, one: Act): Promise<[string, number][]> {
  await inTurn(side, before);
  const pause = () => new Promise((resolve) => setTimeout(resolve, SETTLING));
  await pause();
  const output = join(DIRECTORY, "trace");
  const tracer = new Deno.Command("strace", {
    args: ["-f", "-c", "-o", output, "-p", `${side.process.pid}`],
    stderr: "null",
  }).spawn();
  await pause();
  await inTurn(side, one);
  tracer.kill("SIGINT");
  await tracer.status;
  return Deno.readTextFileSync(output).split("\n").map((line) => line.trim().split(/\s+/))
    .filter((fields) => /^\d/.test(fields[0]) && fields.at(-1) !== "total")
    .map((fields): [string, number] => [fields.at(-1)!, Number(fields[3]) / CALLS])
    .toSorted(([, a], [, b]) => b - a);
}
