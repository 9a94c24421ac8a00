/**
 * Carries out a call of the snapshots service on a store: the part that runs in a lane.
 *
 * @module
 */
import type { VeneerError } from "../../base/errors.ts";
import { refuseOffered } from "../../images/offer.ts";
import type { AgedUsage, Leftovers, Snapshotter } from "../../snapshots/snapshotter.ts";
import type { Bytes } from "../bytes.ts";
import {
  type SnapshotCall,
  writeEmpty,
  writeList,
  writeMounts,
  writeSnapshot,
  writeUsage,
} from "./messages.ts";

/** The work of a lane for the service: the calls of clients, and the deletion of removed layers. */
export type LaneCall = SnapshotCall | { readonly method: "delete removed" };

/**
 * How long layers are deleted before the lane looks up, in milliseconds; one large layer may take
 * longer.
 */
const DELETING_TIME = 200;

/**
 * @param emit gets each message of the answer
 * @throws {VeneerError} as the snapshotter does
 */
export function perform(
  snapshotter: Snapshotter,
  call: LaneCall,
  emit: (message: Bytes) => void,
): void {
  switch (call.method) {
    case "prepare":
    case "view": {
      const { key, parent, labels } = call;
      if (call.method === "prepare") refuseOffered(snapshotter, parent, labels);
      return emit(writeMounts(snapshotter[call.method](key, parent, { labels })));
    }
    case "mounts":
      return emit(writeMounts(snapshotter.mounts(call.key)));
    case "commit":
      snapshotter.commit(call.name, call.key, call);
      return emit(writeEmpty());
    case "remove":
      snapshotter.remove(call.key);
      return emit(writeEmpty());
    case "stat":
      return emit(writeSnapshot(snapshotter.stat(call.key)));
    case "update":
      return emit(
        writeSnapshot(snapshotter.update({ name: call.key, labels: call.labels }, call.fields)),
      );
    case "usage":
      return emit(writeAged(snapshotter.agedUsage(call.key)));
    case "list":
      return emitList(snapshotter, call.filters, emit);
    case "cleanup":
      cleanUp(snapshotter);
      return emit(writeEmpty());
    case "delete removed": {
      const end = performance.now() + DELETING_TIME;
      return emit(writeLeftovers(snapshotter.deleteRemoved(() => performance.now() > end)));
    }
  }
}

/** The most bytes of a list that is kept. */
const LONGEST_LIST = 1 << 20;

/** The last list of all records of each store, and the version of these. */
const lists = new WeakMap<Snapshotter, { version: string; messages: readonly Bytes[] }>();

/** Lists snapshots; of a list of all, which engines ask for again and again, a copy is kept. */
function emitList(
  snapshotter: Snapshotter,
  filters: readonly string[],
  emit: (message: Bytes) => void,
): void {
  const { version } = snapshotter, isWhole = filters.length === 0;
  const known = isWhole ? lists.get(snapshotter) : undefined;
  if (known?.version === version) {
    for (const message of known.messages) emit(message.slice());
    return;
  }
  lists.delete(snapshotter);
  const messages: Bytes[] = [];
  let room = isWhole ? LONGEST_LIST : -1;
  for (const message of writeList(snapshotter.walk(filters))) {
    room -= message.length;
    if (room >= 0) messages.push(message.slice());
    emit(message);
  }
  if (room >= 0) lists.set(snapshotter, { version, messages });
}

/** Does all that can be done. @throws {VeneerError} the first thing that could not */
function cleanUp(snapshotter: Snapshotter): void {
  let first: VeneerError | undefined;
  snapshotter.cleanup((error) => first ??= error);
  if (first !== undefined) throw first;
}

/** The one message of an answer to `usage`: the client's after the age, which is for the service. */
function writeAged({ usage, age }: AgedUsage): Bytes {
  const answer = writeUsage(usage);
  const message = new Uint8Array(AGE_SIZE + answer.length);
  new DataView(message.buffer).setFloat64(0, age);
  message.set(answer, AGE_SIZE);
  return message;
}

const AGE_SIZE = 8;

/** Reads it. */
export const readAged = (message: Bytes): { readonly answer: Bytes; readonly age: number } => ({
  answer: message.subarray(AGE_SIZE),
  age: new DataView(message.buffer, message.byteOffset).getFloat64(0),
});

/** The one message of an answer to `delete removed`. */
const writeLeftovers = (leftovers: Leftovers): Bytes => new TextEncoder().encode(leftovers);

/** Reads it. */
export const readLeftovers = (message: Bytes): Leftovers =>
  new TextDecoder().decode(message) as Leftovers;
