/**
 * Writes requests to containerd's snapshots service and reads its answers, without the service's
 * own code.
 */
import type { Bytes } from "./grpc_client.ts";

const text = new TextEncoder();

/** A length-delimited field of up to 2^28 bytes. */
export function field(number: number, value: string | ArrayLike<number>): number[] {
  const bytes = typeof value === "string" ? text.encode(value) : value;
  return [...varint(number << 3 | 2), ...varint(bytes.length), ...Array.from(bytes)];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 | 128);
  return [...bytes, value];
}

export type Labels = Readonly<Record<string, string>>;

const labelFields = (labels: Labels, number = 4) =>
  Object.entries(labels).flatMap(([key, value]) =>
    field(number, [...field(1, key), ...field(2, value)])
  );

/** PrepareSnapshotRequest and ViewSnapshotRequest. */
export function make(key: string, parent = "", labels: Labels = {}): number[] {
  return [...field(1, "veneer"), ...field(2, key), ...field(3, parent), ...labelFields(labels)];
}

/** CommitSnapshotRequest. */
export function commit(name: string, key: string, labels: Labels = {}, parent = ""): number[] {
  const on = parent === "" ? [] : field(5, parent);
  return [
    ...field(1, "veneer"),
    ...field(2, name),
    ...field(3, key),
    ...labelFields(labels),
    ...on,
  ];
}

/** UpdateSnapshotRequest; without a mask if no paths are given. */
export function update(name: string, labels: Labels, ...paths: string[]): number[] {
  const info = [...field(1, name), ...labelFields(labels, 6)];
  const mask = paths.length === 0 ? [] : field(3, paths.flatMap((path) => field(1, path)));
  return [...field(1, "veneer"), ...field(2, info), ...mask];
}

/** CleanupRequest. */
export const cleanup = (): number[] => field(1, "veneer");

/** MountsRequest, RemoveSnapshotRequest, StatSnapshotRequest, UsageRequest. */
export const ofKey = (key: string): number[] => [...field(1, "veneer"), ...field(2, key)];

/** ListSnapshotsRequest. */
export function list(...filters: string[]): number[] {
  return [...field(1, "veneer"), ...filters.flatMap((filter) => field(2, filter))];
}

/** The content of a message by field numbers: integers, and the bytes of other fields. */
export function fieldsOf(message: Bytes): Map<number, (number | Bytes)[]> {
  const fields = new Map<number, (number | Bytes)[]>();
  let at = 0;
  const read = () => {
    let value = 0;
    for (let factor = 1;; factor *= 128) {
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = read(), number = tag >> 3;
    let value: number | Bytes = read();
    if ((tag & 7) === 2) value = message.slice(at, at += value);
    fields.set(number, [...fields.get(number) ?? [], value]);
  }
  return fields;
}

const stringOf = (value: number | Bytes | undefined) =>
  value instanceof Uint8Array ? new TextDecoder().decode(value) : "";

export interface Info {
  readonly name: string;
  readonly parent: string;
  readonly kind: number;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly updated: number;
  readonly labels: Labels;
}

export function readInfo(message: Bytes): Info {
  const fields = fieldsOf(message);
  const time = (value: number | Bytes | undefined) => {
    const stamp = fieldsOf(value as Bytes);
    return Number(stamp.get(1)?.[0] ?? 0) * 1000 + Number(stamp.get(2)?.[0] ?? 0) / 1e6;
  };
  return {
    name: stringOf(fields.get(1)?.[0]),
    parent: stringOf(fields.get(2)?.[0]),
    kind: Number(fields.get(3)?.[0] ?? 0),
    created: time(fields.get(4)?.[0]),
    updated: time(fields.get(5)?.[0]),
    labels: Object.fromEntries((fields.get(6) ?? []).map((entry) => {
      const pair = fieldsOf(entry as Bytes);
      return [stringOf(pair.get(1)?.[0]), stringOf(pair.get(2)?.[0])];
    })),
  };
}

/** The infos of a StatSnapshotResponse or ListSnapshotsResponse. */
export function readInfos(message: Bytes): Info[] {
  return (fieldsOf(message).get(1) ?? []).map((info) => readInfo(info as Bytes));
}

/** The numbers of a UsageResponse. */
export function readUsage(message: Bytes) {
  const fields = fieldsOf(message);
  return { bytes: Number(fields.get(1)?.[0] ?? 0), inodes: Number(fields.get(2)?.[0] ?? 0) };
}

/** The mounts of a response. */
export function readMounts(message: Bytes) {
  return (fieldsOf(message).get(1) ?? []).map((mount) => {
    const fields = fieldsOf(mount as Bytes);
    return {
      type: stringOf(fields.get(1)?.[0]),
      source: stringOf(fields.get(2)?.[0]),
      target: stringOf(fields.get(3)?.[0]),
      options: (fields.get(4) ?? []).map(stringOf),
    };
  });
}
