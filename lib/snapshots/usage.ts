/**
 * The space that a snapshot adds to its parent. That of an active one is counted at each call, that
 * of a committed one only once.
 *
 * A count may take long. It is made without the layer's lock, so that other operations do not wait
 * for it. It is repeated if the snapshot was committed, removed or replaced meanwhile.
 *
 * @module
 */
import { codeOf } from "../base/errors.ts";
import type { SnapshotBackend } from "./backend.ts";
import type { AgedUsage, Usage } from "./snapshotter.ts";
import type { Snapshot } from "./records.ts";
import type { Store } from "./store.ts";
import { ageOf } from "./usage_age.ts";

/** The counted space and its snapshot. */
interface Counted {
  readonly usage: Usage;
  readonly snapshot: Snapshot;
}

/**
 * @throws {VeneerError} `not found`, also if the snapshot is removed meanwhile; errors of counting
 */
export function usageOf(key: string, store: Store, backend: SnapshotBackend): Usage {
  return count(key, store, backend).usage;
}

function count(key: string, store: Store, backend: SnapshotBackend): Counted {
  for (;;) {
    const snapshot = store.require(key);
    const { layer, kind, bytes, inodes } = snapshot;
    if (kind === "view") return { usage: { bytes: 0, inodes: 0 }, snapshot };
    if (bytes !== null && inodes !== null) return { usage: { bytes, inodes }, snapshot };
    const isSame = () => {
      const now = store.find(key);
      return now?.layer === layer && now.kind === kind;
    };
    let usage: Usage;
    try {
      usage = backend.usage({
        layer,
        kind,
        // Read only if it is needed: most drivers do not use it.
        get parents() {
          return store.chain(snapshot).parents;
        },
      });
    } catch (error) {
      if (isSame()) throw error;
      continue;
    }
    if (!isSame()) continue;
    if (kind === "committed") keepUsage(store, layer, usage);
    return { usage, snapshot };
  }
}

/**
 * The same, with the time for which the count may be used again: 0 for layers with counters, and
 * for committed snapshots, whose count is recorded.
 *
 * @param atLeast the least time in seconds; 0 to count at each call
 * @throws {VeneerError} as {@linkcode usageOf}
 */
export function agedUsageOf(
  key: string,
  { store, backend, atLeast }: {
    readonly store: Store;
    readonly backend: SnapshotBackend;
    readonly atLeast: number;
  },
): AgedUsage {
  const begin = performance.now();
  const { usage, snapshot: { layer, kind } } = count(key, store, backend);
  const duration = performance.now() - begin;
  const isQuick = kind !== "active" || backend.hasCounters?.(layer);
  return { usage, age: isQuick ? 0 : ageOf(duration, atLeast) };
}

/**
 * Records a count. On a full or read-only disk it is not recorded, and counted again the next time.
 */
function keepUsage(store: Store, layer: string, usage: Usage): void {
  try {
    store.keepUsage(layer, usage);
  } catch (error) {
    if (!["limit exceeded", "failed precondition"].includes(codeOf(error))) throw error;
  }
}
