/**
 * Builds tars from literal field values, so that tests can write what no honest program writes.
 *
 * It shares no code with the project's own reader and writer: a mistake they had in common would hide in
 * every test otherwise.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** One header and its data. Text fields may be bytes; numbers are written in octal, or given as text. */
export interface TarEntry {
  name: string | Uint8Array;
  /** A single character; `"0"` by default. */
  type?: string;
  mode?: number | string;
  uid?: number | string;
  gid?: number | string;
  /** The size that is claimed; by default that of {@linkcode data}. */
  size?: number | string;
  mtime?: number | string;
  link?: string | Uint8Array;
  data?: string | Uint8Array;
  major?: number | string;
  minor?: number | string;
  prefix?: string | Uint8Array;
  /** `"ustar"` (the default), `"gnu"`, or `"v7"`. */
  magic?: "ustar" | "gnu" | "v7";
  /** In place of the right checksum. */
  checksum?: number;
  /** Bytes put over the header at offsets, before the checksum is made. */
  patches?: readonly (readonly [offset: number, bytes: Uint8Array])[];
}

const BLOCK = 512;

/** The bytes of a text, Latin-1: what a test writes is what the tar holds. UTF-8 must be encoded before. */
export function bytes(text: string | Uint8Array): Uint8Array<ArrayBuffer> {
  if (typeof text !== "string") return new Uint8Array(text);
  return new Uint8Array(Buffer.from(text, "latin1"));
}

/** One header block, and the data padded to blocks. */
export function record(entry: TarEntry): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(BLOCK);
  const text = (at: number, length: number, value: string | Uint8Array) =>
    header.set(bytes(value).subarray(0, length), at);
  const octal = (at: number, length: number, value: number | string) =>
    text(
      at,
      length,
      typeof value === "string" ? value : value.toString(8).padStart(length - 1, "0"),
    );
  const data = bytes(entry.data ?? "");
  text(0, 100, entry.name);
  octal(100, 8, entry.mode ?? (entry.type === "5" ? 0o755 : 0o644));
  octal(108, 8, entry.uid ?? 0);
  octal(116, 8, entry.gid ?? 0);
  octal(124, 12, entry.size ?? data.length);
  octal(136, 12, entry.mtime ?? 1_600_000_000);
  text(156, 1, entry.type ?? "0");
  text(157, 100, entry.link ?? "");
  const magic = entry.magic ?? "ustar";
  if (magic === "ustar") text(257, 8, "ustar\x0000");
  if (magic === "gnu") text(257, 8, "ustar  \0");
  if (magic !== "v7") {
    octal(329, 8, entry.major ?? 0);
    octal(337, 8, entry.minor ?? 0);
    if (entry.prefix !== undefined) text(345, 155, entry.prefix);
  }
  for (const [at, patch] of entry.patches ?? []) header.set(patch, at);
  header.fill(0x20, 148, 156);
  const sum = entry.checksum ?? header.reduce((total, byte) => total + byte, 0);
  text(148, 8, sum.toString(8).padStart(6, "0") + "\0 ");
  return concat([header, data, new Uint8Array((BLOCK - data.length % BLOCK) % BLOCK)]);
}

/** A whole tar with its end-of-archive marker. */
export function tar(...parts: readonly (TarEntry | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  return concat([...openEnded(...parts), new Uint8Array(2 * BLOCK)]);
}

/** The same without the marker. */
export function openEnded(...parts: readonly (TarEntry | Uint8Array)[]): Uint8Array[] {
  return parts.map((part) => part instanceof Uint8Array ? part : record(part));
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const dir = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({
  name,
  type: "5",
  ...more,
});
export const file = (
  name: string,
  data: string | Uint8Array = "",
  more: Partial<TarEntry> = {},
): TarEntry => ({ name, data, ...more });
export const symlink = (target: string, name: string, more: Partial<TarEntry> = {}): TarEntry => ({
  name,
  type: "2",
  link: target,
  ...more,
});
export const hardlink = (target: string, name: string): TarEntry => ({
  name,
  type: "1",
  link: target,
});

/** One pax record, with the length that counts itself. */
export function paxRecord(key: string, value: string | Uint8Array): Uint8Array {
  const rest = concat([bytes(` ${key}=`), bytes(value), bytes("\n")]);
  let length = rest.length + 1;
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
  return concat([bytes(`${length}`), rest]);
}

/** A pax extended header (`x`, or `g` for a global one) of records. */
export function pax(
  records: Readonly<Record<string, string | Uint8Array>>,
  type = "x",
): Uint8Array<ArrayBuffer> {
  const data = concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
  return record({ name: "PaxHeaders/x", type, data });
}
