/**
 * The messages of containerd's snapshots service (api/services/snapshots/v1/snapshots.proto and
 * api/types/mount.proto, of containerd 1.6 to 2.4), between bytes and what a snapshotter knows.
 *
 * The field `snapshotter`, a name from containerd's configuration, is not looked at: a service has one store.
 *
 * @module
 */
import type { Mount } from "../../mount/plan.ts";
import type { SnapshotInfo, SnapshotKind } from "../../snapshots/snapshotter.ts";
import { MessageWriter, readFields, text } from "../protobuf.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A call of a snapshotter: what crosses to a lane. */
export type SnapshotCall =
  | {
    readonly method: "prepare" | "view";
    readonly key: string;
    readonly parent: string;
    readonly labels: ReadonlyMap<string, string>;
  }
  | {
    readonly method: "commit";
    readonly name: string;
    readonly key: string;
    readonly labels: ReadonlyMap<string, string>;
    readonly parent: string;
  }
  | { readonly method: "mounts" | "remove" | "stat"; readonly key: string }
  | { readonly method: "list"; readonly filters: readonly string[] };

/** Infos in one message of a list's answer, as many as containerd's own server sends. */
const BATCH = 100;

/** Reads a PrepareSnapshotRequest or ViewSnapshotRequest: snapshotter, key, parent, labels. */
export const readMake = (method: "prepare" | "view") => (message: Bytes): SnapshotCall => {
  const fields = Fields.of(message);
  return { method, key: fields.text(2), parent: fields.text(3), labels: fields.map(4) };
};

/** Reads a CommitSnapshotRequest: snapshotter, name, key, labels, parent (from containerd 2.2). */
export function readCommit(message: Bytes): SnapshotCall {
  const fields = Fields.of(message);
  return {
    method: "commit",
    name: fields.text(2),
    key: fields.text(3),
    labels: fields.map(4),
    parent: fields.text(5),
  };
}

/** Reads a MountsRequest, RemoveSnapshotRequest or StatSnapshotRequest: snapshotter, key. */
export const readKey = (method: "mounts" | "remove" | "stat") => (message: Bytes): SnapshotCall => {
  return { method, key: Fields.of(message).text(2) };
};

/** Reads a ListSnapshotsRequest: snapshotter, filters. */
export function readList(message: Bytes): SnapshotCall {
  return { method: "list", filters: Fields.of(message).texts(2) };
}

/** The fields of a request, by number. */
class Fields {
  private constructor(private readonly fields: ReadonlyMap<number, readonly Bytes[]>) {}

  static of(message: Bytes): Fields {
    const fields = new Map<number, Bytes[]>();
    for (const { number, bytes } of readFields(message)) {
      const before = fields.get(number);
      if (before === undefined) fields.set(number, [bytes]);
      else before.push(bytes);
    }
    return new Fields(fields);
  }

  /** Of a field that comes twice the last counts. */
  text(number: number): string {
    const last = this.fields.get(number)?.at(-1);
    return last === undefined ? "" : text(last);
  }

  texts(number: number): string[] {
    return (this.fields.get(number) ?? []).map(text);
  }

  map(number: number): Map<string, string> {
    return new Map(
      (this.fields.get(number) ?? []).map((entry) => {
        const pair = Fields.of(entry);
        return [pair.text(1), pair.text(2)] as const;
      }),
    );
  }
}

/** Writes an Empty. */
export const writeEmpty = (): Bytes[] => [new Uint8Array()];

/** Writes a response of mounts: Prepare's, View's and Mounts' are the same. */
export function writeMounts(mounts: readonly Mount[]): Bytes[] {
  const response = new MessageWriter();
  for (const { type, source, options } of mounts) {
    const mount = new MessageWriter().string(1, type).string(2, source);
    for (const option of options) mount.stringAlways(4, option);
    response.bytes(1, mount.finish());
  }
  return [response.finish()];
}

/** Writes a StatSnapshotResponse. */
export function writeStat(info: SnapshotInfo): Bytes[] {
  return [new MessageWriter().bytes(1, writeInfo(info)).finish()];
}

/** Writes the ListSnapshotsResponses of a list; there is none for an empty one. */
export function writeList(infos: Iterable<SnapshotInfo>): Bytes[] {
  const messages: Bytes[] = [];
  let response = new MessageWriter(), count = 0;
  for (const info of infos) {
    response.bytes(1, writeInfo(info));
    if (++count < BATCH) continue;
    messages.push(response.finish());
    response = new MessageWriter();
    count = 0;
  }
  if (count > 0) messages.push(response.finish());
  return messages;
}

/** The enumeration Kind. */
const KIND: Readonly<Record<SnapshotKind, number>> = { view: 1, active: 2, committed: 3 };

function writeInfo({ name, parent, kind, created, updated, labels }: SnapshotInfo): Bytes {
  return new MessageWriter()
    .string(1, name)
    .string(2, parent)
    .integer(3, KIND[kind])
    .bytes(4, writeTimestamp(created))
    .bytes(5, writeTimestamp(updated))
    .map(6, labels)
    .finish();
}

/** A google.protobuf.Timestamp: seconds, nanos. @param time in microseconds since 1970 */
function writeTimestamp(time: number): Bytes {
  const seconds = Math.floor(time / 1e6);
  return new MessageWriter().integer(1, seconds).integer(2, (time - seconds * 1e6) * 1000).finish();
}
