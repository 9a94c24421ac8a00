/**
 * Performs a call of the snapshots service on a store. This part runs in a lane.
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

/** The work of a lane: calls of clients, and the deletion of removed layers. */
export type LaneCall = SnapshotCall | { readonly method: "delete removed" };

/**
 * The time for which a lane deletes layers before it answers, in milliseconds. One large layer may
 * take longer.
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

/** The size of the largest list that is kept, in bytes. */
const LONGEST_LIST = 1 << 20;

/** Each store's last list of all records, with the version of the records. */
const lists = new WeakMap<Snapshotter, { version: string; messages: readonly Bytes[] }>();

/** Lists snapshots. A copy of a list of all snapshots is kept, because engines often ask for it. */
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

/** Cleans up as much as is possible. @throws {VeneerError} the first failure */
function cleanUp(snapshotter: Snapshotter): void {
  let first: VeneerError | undefined;
  snapshotter.cleanup((error) => first ??= error);
  if (first !== undefined) throw first;
}

/**
 * The only message of an answer to `usage`: the age of the count, for the service, and then the
 * client's message.
 */
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
