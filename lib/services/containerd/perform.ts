/**
 * Performs a call of the snapshots service on a store. This part runs in a lane.
 *
 * @module
 */
import type { VeneerError } from "../../base/errors.ts";
import { isOffered, offersOf, publicOf, withoutPrivate } from "../../images/offer.ts";
import type { Snapshots } from "../../snapshots/snapshots.ts";
import type { AgedUsage, Leftovers, SnapshotInfo } from "../../snapshots/snapshotter.ts";
import type { Bytes } from "../bytes.ts";
import { KnownList } from "./known_list.ts";
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
  snapshotter: Snapshots,
  call: LaneCall,
  emit: (message: Bytes) => void,
): void {
  switch (call.method) {
    case "prepare":
    case "view": {
      const { key, parent } = call, labels = publicOf(call.labels);
      if (call.method === "prepare") offersOf(snapshotter).refuseOffered(parent, labels);
      if (parent !== "") offersOf(snapshotter).adopt(parent);
      return emit(writeMounts(snapshotter[call.method](key, parent, { labels })));
    }
    case "mounts":
      return emit(writeMounts(snapshotter.mounts(call.key)));
    case "commit":
      if (call.parent) offersOf(snapshotter).adopt(call.parent);
      snapshotter.commit(call.name, call.key, { ...call, labels: publicOf(call.labels) });
      return emit(writeEmpty());
    case "remove":
      if (!offersOf(snapshotter).takeBack(call.key)) snapshotter.remove(call.key);
      return emit(writeEmpty());
    case "stat":
      return emit(writeSnapshot(withoutPrivate(snapshotter.stat(call.key))));
    case "update":
      return emit(writeSnapshot(withoutPrivate(update(snapshotter, call))));
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

/** Each store's last list of all snapshots. */
const lists = new WeakMap<Snapshots, KnownList>();

/** Lists snapshots. */
function emitList(
  snapshotter: Snapshots,
  filters: readonly string[],
  emit: (message: Bytes) => void,
): void {
  if (filters.length > 0) {
    for (const message of writeList(listed(snapshotter, filters))) emit(message);
    return;
  }
  let list = lists.get(snapshotter);
  if (list === undefined) lists.set(snapshotter, list = new KnownList());
  list.emit(snapshotter, emit);
}

/** The snapshots of a list, without the layers that are only offered. */
function* listed(snapshotter: Snapshots, filters: readonly string[]): Generator<SnapshotInfo> {
  for (const info of snapshotter.walk(filters)) {
    if (!isOffered(info)) yield withoutPrivate(info);
  }
}

/** Changes labels, but not the private ones of layers. */
function update(
  snapshotter: Snapshots,
  { key: name, labels: given, fields }: Extract<SnapshotCall, { method: "update" }>,
): SnapshotInfo {
  const labels = offersOf(snapshotter).withPrivate(name, publicOf(given));
  return snapshotter.update({ name, labels }, fields);
}

/** Cleans up as much as is possible. @throws {VeneerError} the first failure */
function cleanUp(snapshotter: Snapshots): void {
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
