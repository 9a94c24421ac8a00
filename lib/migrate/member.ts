/**
 * A layer or snapshot as it goes from one store to another.
 *
 * @module
 */
import type { SnapshotKind } from "../snapshots/snapshotter.ts";

/** Everything about it but its content. Plain data, since it goes between threads. */
export interface Member {
  /** A layer's id, a snapshot's name or key. */
  readonly id: string;
  /** `""` for none, also for one that is not recorded: the member is then read whole. */
  readonly parent: string;
  readonly kind: "layer" | SnapshotKind;
  /** The reason why it cannot be migrated now, if there is one. */
  readonly obstacle?: string;
  /** Something that is lost on the way. */
  readonly loss?: string;
  /** The bytes that it adds to its parent, if that was asked for and could be counted. */
  readonly bytes?: number;
  /** The options that give a layer its limits. */
  readonly storageOptions?: Readonly<Record<string, string>>;
  /** The path of Docker's record of it. */
  readonly record?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Of a snapshot, in microseconds since 1970. */
  readonly created?: number;
  readonly updated?: number;
}

/** Whether it has content of its own. */
export const hasContent = ({ kind }: Member): boolean => kind !== "view";

/** A member that is left out, and why. */
export interface LeftOut {
  readonly id: string;
  readonly reason: string;
}

/** Members in the order in which they are migrated. */
export interface Plan {
  /** Parents first. */
  readonly members: readonly Member[];
  /** Those without a way to a base: their parent is missing, or they form a circle. */
  readonly leftOut: readonly LeftOut[];
}

/**
 * Plans the migration of members, parents first, and of those below the wanted ones. Looks at each
 * member once, whatever their parents say.
 *
 * @param wanted ids; `undefined` for all
 */
export function planOf(members: readonly Member[], wanted?: ReadonlySet<string>): Plan {
  const byId = new Map(members.map((member) => [member.id, member]));
  const needed = wanted === undefined ? new Set(byId.keys()) : new Set<string>();
  for (const id of wanted ?? []) {
    for (let at = id; at !== "" && byId.has(at) && !needed.has(at); at = byId.get(at)!.parent) {
      needed.add(at);
    }
  }
  const chosen = members.filter(({ id }) => needed.has(id));
  const children = Map.groupBy(chosen, ({ parent }) => parent);
  const order: Member[] = [...children.get("") ?? []];
  for (let at = 0; at < order.length; at++) {
    // One by one: a member may have more children than a call takes arguments.
    for (const child of children.get(order[at].id) ?? []) order.push(child);
  }
  const reached = new Set(order.map(({ id }) => id));
  const leftOut = chosen.filter(({ id }) => !reached.has(id)).map(({ id, parent }) => ({
    id,
    reason: byId.has(parent)
      ? `the layers below it form a circle, or the lowest of them is missing`
      : `its parent ${parent} is missing`,
  }));
  return { members: order, leftOut };
}
