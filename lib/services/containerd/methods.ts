/**
 * The methods of containerd's snapshots service that this program has. The others are unknown to it, so that they are
 * answered with UNIMPLEMENTED.
 *
 * @module
 */
import type { Method, Services } from "../grpc/server.ts";
import type { Lanes } from "../lanes/lanes.ts";
import { readCommit, readKey, readList, readMake, type SnapshotCall } from "./messages.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const REQUESTS: Readonly<Record<string, (message: Bytes) => SnapshotCall>> = {
  Prepare: readMake("prepare"),
  View: readMake("view"),
  Mounts: readKey("mounts"),
  Commit: readCommit,
  Remove: readKey("remove"),
  Stat: readKey("stat"),
  List: readList,
};

/** The service, whose calls are done by lanes. */
export function snapshotsService(lanes: Lanes<SnapshotCall>): Services {
  const methods = Object.entries(REQUESTS).map(([name, read]): [string, Method] => [
    name,
    (message) => {
      const call = read(message);
      const running = lanes.run({ call, ...orderOf(call) });
      return { ...running, subject: subjectOf(call) };
    },
  ]);
  return new Map([["containerd.services.snapshots.v1.Snapshots", new Map(methods)]]);
}

/** How a call may run beside others. Stat and List read the database alone, which waits for nobody. */
function orderOf(call: SnapshotCall): { key?: string; isQuick: boolean } {
  switch (call.method) {
    case "stat":
    case "list":
      return { isQuick: true };
    default:
      return { key: call.key, isQuick: false };
  }
}

/** What the log says a call is about. */
function subjectOf(call: SnapshotCall): Record<string, string> {
  switch (call.method) {
    case "prepare":
    case "view":
      return { key: call.key, ...call.parent === "" ? {} : { parent: call.parent } };
    case "commit":
      return { key: call.key, name: call.name };
    case "list":
      return call.filters.length === 0 ? {} : { filters: call.filters.join(" ") };
    default:
      return { key: call.key };
  }
}
