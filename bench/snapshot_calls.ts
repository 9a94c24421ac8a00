/**
 * Calls of the snapshots API that are measured: each kind of two snapshotters in turns, by one client that knows neither.
 *
 * @module
 */
import {
  commit,
  type Labels,
  list,
  make,
  ofKey,
  update,
} from "../tests/services/snapshots_client.ts";
import { compare, type Contender, report } from "./measure.ts";
import { QUICK } from "./subject.ts";

/** Calls of one kind in a turn: of those that change something, and of those that only ask. */
export const CHANGES = 128, QUESTIONS = 3_200;

/** Snapshots in a list. */
const LISTED = 1000;

/** A snapshotter behind an API. */
export interface Side {
  readonly name: string;
  /** The labels that its snapshots are made with. */
  readonly labels: Labels;
  /** A call that must succeed. */
  call(method: string, request: readonly number[]): Promise<void>;
  /** Has what was removed deleted. Not measured. */
  settle(): Promise<void>;
}

/** A kind of call: the calls before, not measured; the call; the calls after, not measured. */
interface Kind {
  readonly name: string;
  /** Of the ratio. */
  readonly aim: string;
  readonly calls: number;
  readonly before?: (side: Side, n: number) => Promise<void>;
  readonly one: (side: Side, n: number) => Promise<void>;
  readonly after?: (side: Side, n: number) => Promise<void>;
}

const keys = (n: number) => ofKey(`key ${n}`);
const remove = (side: Side, n: number) => side.call("Remove", keys(n));
const prepare = (side: Side, n: number) =>
  side.call("Prepare", make(`key ${n}`, "base", side.labels));
const view = (side: Side, key: string) => side.call("View", make(key, "base", side.labels));

const KINDS: readonly Kind[] = [
  { name: "prepare", aim: "0.8", calls: CHANGES, one: prepare, after: remove },
  {
    name: "view",
    aim: "1.0",
    calls: CHANGES,
    one: (side, n) => view(side, `key ${n}`),
    after: remove,
  },
  {
    name: "commit",
    aim: "0.8",
    calls: CHANGES,
    before: prepare,
    one: (side, n) => side.call("Commit", commit(`name ${n}`, `key ${n}`, side.labels)),
    after: (side, n) => side.call("Remove", ofKey(`name ${n}`)),
  },
  { name: "remove", aim: "0.8", calls: CHANGES, before: prepare, one: remove },
  ...([["Mounts", "active"], ["Stat", "base"], ["Usage", "active"]] as const).map((
    [method, key],
  ): Kind => ({
    name: method.toLowerCase(),
    aim: "1.0",
    calls: QUESTIONS,
    one: (side) => side.call(method, ofKey(key)),
  })),
];

/** Makes calls, so many at once. */
async function inParallel(
  atOnce: number,
  calls: number,
  one: (n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < calls) await one(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/**
 * Measures each kind of call.
 *
 * @param reference the name of the side that the other one is compared with
 * @param hasAims whether the aims are shown
 */
export async function measureCalls(
  sides: readonly Side[],
  reference: string,
  hasAims: boolean,
): Promise<void> {
  for (const side of sides) {
    await side.call("Prepare", make("filling", "", side.labels));
    await side.call("Commit", commit("base", "filling", side.labels));
    await side.call("Prepare", make("active", "base", side.labels));
  }
  for (const { name, aim, calls, before, one, after } of KINDS) {
    for (const atOnce of [1, 16]) {
      const contenders = sides.map((side): Contender => ({
        name: side.name,
        before: before && (() => inParallel(16, calls, (n) => before(side, n))),
        run: () => inParallel(atOnce, calls, (n) => one(side, n)),
        after: async () => {
          if (after) await inParallel(16, calls, (n) => after(side, n));
          await side.settle();
        },
      }));
      const results = await compare(contenders, QUICK ? 3 : 9);
      report(`${name}, ${atOnce} at once`, results, reference, hasAims ? aim : undefined);
    }
  }
  await measureLists(sides, reference, hasAims ? "1.0" : undefined);
}

async function measureLists(
  sides: readonly Side[],
  reference: string,
  aim: string | undefined,
): Promise<void> {
  for (const side of sides) {
    for (let n = 0; n < LISTED; n++) await view(side, `view ${n}`);
  }
  for (const [title, isChanged] of [["", false], [" after a change", true]] as const) {
    const lists = sides.map((side): Contender => {
      const labels = () => ({ ...side.labels, at: `${performance.now()}` });
      return {
        name: side.name,
        before: async () => {
          if (isChanged) await side.call("Update", update("view 0", labels()));
        },
        run: () => side.call("List", list()),
      };
    });
    report(`list of 1,000${title}`, await compare(lists, QUICK ? 3 : 15), reference, aim);
  }
}
