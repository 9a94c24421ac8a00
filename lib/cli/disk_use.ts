/**
 * The disk use of the layers or snapshots of a store, and the space that could be reclaimed.
 *
 * @module
 */
import { statfs } from "../../ffi/statfs.ts";
import { messageOf, remedyOf } from "../base/errors.ts";
import { escapePath } from "../base/printable.ts";
import { formatSize } from "../base/sizes.ts";
import type { Output } from "./output.ts";

/** A layer or snapshot. */
export interface Member {
  /** Its id, or its key or name. */
  readonly id: string;
  /** `""` for none, `undefined` if it is unknown. */
  readonly parent: string | undefined;
  /** The bytes that it adds to its parent. */
  readonly count: () => number;
  /** The reason why it cannot be removed now although it has no children; `undefined` if it can. */
  readonly heldBy: () => string | undefined;
}

/** The disk use of a layer or snapshot in bytes, `undefined` if they could not be counted. */
export interface Use {
  readonly id: string;
  readonly parent: string | undefined;
  /** The bytes that it adds to its parent. */
  readonly own: number | undefined;
  /** The bytes of all layers or snapshots below it. */
  readonly shared: number | undefined;
  /** The bytes that its removal would free now. */
  readonly reclaimable: number;
  readonly heldBy: string | undefined;
}

/** The most names in the suggested command that removes them. */
const MOST_NAMED = 8;

/** Returns the uses, the largest first. A failure to count is a warning. */
export function usesOf(members: readonly Member[], output: Output): Use[] {
  const own = new Map(members.map((member) => [member.id, tryCount(member, output)]));
  const parents = new Map(members.map(({ id, parent }) => [id, parent]));
  const children = Map.groupBy(members, ({ parent }) => parent);
  const shared = sharedBytes(own, parents);
  const uses = members.map(({ id, parent, heldBy }) => {
    const above = children.get(id) ?? [];
    const held = above.length === 0
      ? heldBy()
      : above.length === 1
      ? `child ${above[0].id}`
      : `${above.length} children`;
    const bytes = own.get(id);
    const reclaimable = held === undefined ? bytes ?? 0 : 0;
    return { id, parent, own: bytes, shared: shared.get(id), reclaimable, heldBy: held };
  });
  return uses.sort((a, b) => (b.own ?? 0) - (a.own ?? 0));
}

function tryCount({ id, count }: Member, output: Output): number | undefined {
  try {
    return count();
  } catch (error) {
    output.warn(`no size of ${id}: ${messageOf(error)}`, remedyOf(error));
    return undefined;
  }
}

/**
 * The bytes below each member: those of its parent and of all members below that. Chains may be
 * long, and damaged records may form a cycle, so each member is visited once.
 */
function sharedBytes(
  own: ReadonlyMap<string, number | undefined>,
  parents: ReadonlyMap<string, string | undefined>,
): Map<string, number | undefined> {
  const shared = new Map<string, number | undefined>();
  for (const start of own.keys()) {
    const chain: string[] = [];
    let at: string | undefined = start;
    while (at && own.has(at) && !shared.has(at)) {
      shared.set(at, undefined);
      chain.push(at);
      at = parents.get(at);
    }
    let below: number | undefined = at === ""
      ? 0
      : at === undefined || chain.includes(at)
      ? undefined
      : plus(shared.get(at), own.get(at));
    for (const id of chain.reverse()) {
      shared.set(id, below);
      below = plus(below, own.get(id));
    }
  }
  return shared;
}

const plus = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? undefined : a + b;

/** The data of a report. */
export interface Report {
  /** The kind of the members, which is also the key of the list in JSON. */
  readonly of: "layers" | "snapshots";
  readonly driver: string;
  readonly home: string;
  readonly uses: readonly Use[];
  /**
   * The words of the command that removes members, without their names; `undefined` if an engine
   * removes them.
   */
  readonly removal: readonly string[] | undefined;
  /** Whether sizes are printed in bytes. */
  readonly inBytes: boolean;
  readonly isWhole: boolean;
}

/** Prints a report: one JSON object, or a table and the totals. */
export async function printUses(output: Output, report: Report): Promise<void> {
  const { of, driver, home, uses, removal } = report;
  const own = uses.reduce((sum, use) => sum + (use.own ?? 0), 0);
  const reclaimable = uses.reduce((sum, use) => sum + use.reclaimable, 0);
  const { availableBytes: free, totalBytes: size } = statfs(home);
  if (output.json) {
    const list = uses.map(({ id, parent, own, shared, reclaimable, heldBy }) => ({
      [of === "layers" ? "id" : "name"]: id,
      parent: parent ?? null,
      own: own ?? null,
      shared: shared ?? null,
      reclaimable,
      heldBy: heldBy ?? null,
    }));
    output.line(JSON.stringify({ driver, home, [of]: list, own, reclaimable, free, size }));
    return;
  }
  const shown = report.inBytes ? String : formatSize;
  const cell = (bytes: number | undefined) => bytes === undefined ? "?" : shown(bytes);
  await output.listTable([
    [of === "layers" ? "ID" : "KEY/NAME", "OWN", "SHARED", "RECLAIMABLE", "HELD BY"],
    ...uses.map(({ id, own, shared, reclaimable, heldBy }) => [
      escapePath(id),
      cell(own),
      cell(shared),
      shown(reclaimable),
      escapePath(heldBy ?? ""),
    ]),
  ], report.isWhole);
  output.line("");
  output.line(`${shown(own)} in ${counted(uses.length, of)}; ${shown(reclaimable)} could go`);
  output.line(`${shown(free)} of ${shown(size)} are free at ${home}`);
  // A name with control characters cannot be copied from a terminal.
  const named = uses.filter(({ id, reclaimable }) => reclaimable > 0 && !/\p{Cc}/u.test(id))
    .slice(0, MOST_NAMED);
  if (removal === undefined || named.length === 0) return;
  const gain = named.reduce((sum, use) => sum + use.reclaimable, 0);
  const end = named.some(({ id }) => id.startsWith("-")) ? ["--"] : [];
  const command = output.command(...removal, ...end, ...named.map(({ id }) => id));
  output.line(`${command} gives ${shown(gain)} back`);
}

function counted(count: number, of: Report["of"]): string {
  return `${count} ${count === 1 ? of.slice(0, -1) : of}`;
}
