/**
 * The methods of containerd's snapshots service.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Method, Running, Services } from "../grpc/call.ts";
import type { Lanes } from "../lanes/lanes.ts";
import {
  type Read,
  readCleanup,
  readCommit,
  readKey,
  readList,
  readMake,
  readUpdate,
  type SnapshotCall,
} from "./messages.ts";
import { KnownStats } from "./known_stats.ts";
import type { LaneCall } from "./perform.ts";

const REQUESTS: Readonly<Record<string, Read>> = {
  Prepare: readMake("prepare"),
  View: readMake("view"),
  Mounts: readKey("mounts"),
  Commit: readCommit,
  Remove: readKey("remove"),
  Stat: readKey("stat"),
  Update: readUpdate,
  List: readList,
  Usage: readKey("usage"),
  Cleanup: readCleanup,
};

/**
 * The service, whose calls are done by lanes.
 *
 * @param name that requests must call it by
 */
export function snapshotsService(lanes: Lanes<LaneCall>, name: string): Services {
  const stats = new KnownStats();
  const methods = Object.entries(REQUESTS).map(([method, read]): [string, Method] => [
    method,
    (message, emit, client) => {
      const call = read(message, name);
      const run = (more: { emit?: Emit; ended?: () => void } = {}): Running => ({
        ...lanes.run({ call, ...orderOf(call), emit, client, ...more }),
        subject: subjectOf(call),
      });
      switch (call.method) {
        case "stat":
          return stat(stats, call.key, emit, run);
        case "mounts":
        case "list":
        case "usage":
          return run();
        default:
          return run({ ended: stats.changing(call) });
      }
    },
  ]);
  return new Map([["containerd.services.snapshots.v1.Snapshots", new Map(methods)]]);
}

type Emit = (message: Bytes) => void;

/** Answers a Stat, by a lane unless the answer is known. */
function stat(
  stats: KnownStats,
  key: string,
  emit: Emit,
  run: (more: { emit: Emit }) => Running,
): Running {
  const known = stats.get(key);
  if (known !== undefined) {
    emit(known);
    return { subject: { key }, done: Promise.resolve(), cancel: () => {} };
  }
  const keep = stats.asking(key);
  return run({
    emit: (answer) => {
      keep(answer);
      emit(answer);
    },
  });
}

/**
 * How a call may run beside others: those that only use the database wait for no lock of the
 * store's.
 */
function orderOf(call: SnapshotCall): { key?: string; isFree?: boolean; isSlow?: boolean } {
  switch (call.method) {
    case "stat":
    case "list":
      return { isFree: true };
    case "update":
      return { isFree: true, key: call.key };
    case "usage":
      return { isSlow: true, isFree: true };
    case "cleanup":
      return { isSlow: true };
    default:
      return { key: call.key };
  }
}

/** The properties of a call for the log. */
function subjectOf(call: SnapshotCall): Record<string, string> {
  switch (call.method) {
    case "prepare":
    case "view":
      return { key: call.key, ...call.parent === "" ? {} : { parent: call.parent } };
    case "commit":
      return { key: call.key, name: call.name };
    case "update":
      return {
        key: call.key,
        ...call.fields.length === 0 ? {} : { fields: call.fields.join(" ") },
      };
    case "list":
      return call.filters.length === 0 ? {} : { filters: call.filters.join(" ") };
    case "cleanup":
      return {};
    default:
      return { key: call.key };
  }
}
