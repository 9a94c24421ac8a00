/**
 * The messages of containerd's snapshots service (api/services/snapshots/v1/snapshots.proto and
 * api/types/mount.proto, of containerd 1.6 to 2.4), converted between bytes and a snapshotter's
 * values.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import type { Mount } from "../../mount/plan.ts";
import { shown } from "../../snapshots/keys.ts";
import type { SnapshotInfo, SnapshotKind, Usage } from "../../snapshots/snapshotter.ts";
import { type Bytes, joined } from "../bytes.ts";
import { MessageWriter, readFields, text } from "../protobuf.ts";

/** A call of a snapshotter, in the form in which it is sent to a lane. */
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
    /** Whether the lane waits until the commit is on disk. */
    readonly sync?: boolean;
  }
  | { readonly method: "mounts" | "remove" | "stat" | "usage"; readonly key: string }
  | {
    readonly method: "update";
    readonly key: string;
    readonly labels: ReadonlyMap<string, string>;
    readonly fields: readonly string[];
  }
  | { readonly method: "list"; readonly filters: readonly string[] }
  | { readonly method: "cleanup" };

/**
 * The number of infos in one message of a list's answer, the same as in those of containerd's own
 * server.
 */
const BATCH = 100;

/** The size from which a message gets no further infos, in bytes. Clients accept 16 MiB. */
const BATCH_SIZE = 1 << 20;

/** Reads a request to a service. @param name the service's name */
export type Read = (message: Bytes, name: string) => SnapshotCall;

/** Reads a PrepareSnapshotRequest or ViewSnapshotRequest: snapshotter, key, parent, labels. */
export const readMake = (method: "prepare" | "view"): Read => (message, name) => {
  const fields = Fields.ofRequest(message, name);
  return { method, key: fields.text(2), parent: fields.text(3), labels: fields.map(4) };
};

/** Reads a CommitSnapshotRequest: snapshotter, name, key, labels, parent (from containerd 2.2). */
export const readCommit: Read = (message, name) => {
  const fields = Fields.ofRequest(message, name);
  return {
    method: "commit",
    name: fields.text(2),
    key: fields.text(3),
    labels: fields.map(4),
    parent: fields.text(5),
  };
};

/**
 * Reads a MountsRequest, RemoveSnapshotRequest, StatSnapshotRequest or UsageRequest: snapshotter,
 * key.
 */
export const readKey =
  (method: "mounts" | "remove" | "stat" | "usage"): Read => (message, name) => {
    return { method, key: Fields.ofRequest(message, name).text(2) };
  };

/**
 * Reads an UpdateSnapshotRequest: snapshotter, info (name and labels of it), update_mask (a
 * FieldMask: paths).
 */
export const readUpdate: Read = (message, name) => {
  const fields = Fields.ofRequest(message, name);
  const info = fields.message(2);
  return {
    method: "update",
    key: info.text(1),
    labels: info.map(6),
    fields: fields.message(3).texts(1),
  };
};

/** Reads a ListSnapshotsRequest: snapshotter, filters. */
export const readList: Read = (message, name) => {
  return { method: "list", filters: Fields.ofRequest(message, name).texts(2) };
};

/** Reads a CleanupRequest: snapshotter. */
export const readCleanup: Read = (message, name) => {
  Fields.ofRequest(message, name);
  return { method: "cleanup" };
};

/** The fields of a request, by number. */
class Fields {
  private constructor(private readonly fields: ReadonlyMap<number, readonly Bytes[]>) {}

  /**
   * The fields of a request. The first one is the name of the snapshotter in containerd's
   * configuration.
   *
   * @throws {VeneerError} `invalid argument` if that is not the service's name
   */
  static ofRequest(message: Bytes, name: string): Fields {
    const fields = Fields.of(message), given = fields.text(1);
    if (given === name) return fields;
    throw new VeneerError(
      "invalid argument",
      `snapshotter ${shown(given)}: this service is ${
        shown(name)
      }; call it so in the engine's configuration, or start the service under that name`,
    );
  }

  static of(message: Bytes): Fields {
    const fields = new Map<number, Bytes[]>();
    for (const { number, bytes } of readFields(message)) {
      const before = fields.get(number);
      if (before === undefined) fields.set(number, [bytes]);
      else before.push(bytes);
    }
    return new Fields(fields);
  }

  /** The text of a field; of the last one if there are several. */
  text(number: number): string {
    const last = this.fields.get(number)?.at(-1);
    return last === undefined ? "" : text(last);
  }

  /** An embedded message, which may come in parts; empty if it is missing. */
  message(number: number): Fields {
    return Fields.of(joined(this.fields.get(number) ?? []));
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
export const writeEmpty = (): Bytes => new Uint8Array();

/** Writes the response to Prepare, View or Mounts, which are the same. */
export function writeMounts(mounts: readonly Mount[]): Bytes {
  const response = new MessageWriter();
  for (const { type, source, options } of mounts) {
    response.message(1, () => {
      response.string(1, type).string(2, source);
      for (const option of options) response.stringAlways(4, option);
    });
  }
  return response.finish();
}

/** Writes a StatSnapshotResponse or UpdateSnapshotResponse. */
export function writeSnapshot(info: SnapshotInfo): Bytes {
  const response = new MessageWriter();
  writeInfo(response, info);
  return response.finish();
}

/** Writes a UsageResponse. */
export function writeUsage({ bytes, inodes }: Usage): Bytes {
  return new MessageWriter().integer(1, bytes).integer(2, inodes).finish();
}

/** Writes the ListSnapshotsResponses of a list, one by one; there is none for an empty list. */
export function* writeList(infos: Iterable<SnapshotInfo>): Generator<Bytes> {
  const list = new ListWriter();
  for (const info of infos) {
    list.add(info);
    if (list.isFull) yield list.finish();
  }
  if (list.length > 0) yield list.finish();
}

/** Writes the messages of a list. */
export class ListWriter {
  readonly #response = new MessageWriter();
  #count = 0;

  /** The number of bytes written of this message. */
  get length(): number {
    return this.#response.length;
  }

  /** Whether this message gets no further infos. */
  get isFull(): boolean {
    return this.#count >= BATCH || this.#response.length >= BATCH_SIZE;
  }

  add(info: SnapshotInfo): void {
    this.#count++;
    writeInfo(this.#response, info);
  }

  /** Adds an info that was written before, into another message. */
  copy(info: Bytes): void {
    this.#count++;
    this.#response.copy(info);
  }

  /** Returns this message, and begins the next one. */
  finish(): Bytes {
    this.#count = 0;
    return this.#response.finish();
  }
}

/** The enumeration Kind. */
const KIND: Readonly<Record<SnapshotKind, number>> = { view: 1, active: 2, committed: 3 };

/** Writes an Info as the field `info`, which has the number 1 in all responses. */
function writeInfo(writer: MessageWriter, info: SnapshotInfo): void {
  const { name, parent, kind, created, updated, labels } = info;
  writer.message(1, () => {
    writer.string(1, name).string(2, parent).integer(3, KIND[kind]);
    writeTimestamp(writer, 4, created);
    writeTimestamp(writer, 5, updated);
    writer.map(6, labels);
  });
}

/** Writes a google.protobuf.Timestamp: seconds, nanos. @param time in microseconds since 1970 */
function writeTimestamp(writer: MessageWriter, field: number, time: number): void {
  const seconds = Math.floor(time / 1e6);
  writer.message(
    field,
    () => writer.integer(1, seconds).integer(2, (time - seconds * 1e6) * 1000),
  );
}
