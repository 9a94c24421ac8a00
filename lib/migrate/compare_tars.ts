/**
 * Comparing two tars of whole trees entry by entry, from two streams at once. Both were written by
 * the tar engine, which sorts entries, so the first difference is one of the trees.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { openTarInput } from "../tar/read/input.ts";
import type { Entry } from "../tar/read/entry.ts";
import type { LayerPath } from "../tar/read/layer_path.ts";
import { cutShort, TarReader } from "../tar/read/reader.ts";
import type { Window } from "../tar/read/window.ts";

/**
 * Compares two tars to their ends.
 *
 * @param first a descriptor of the source's to read from, which stays the caller's
 * @param second the same of the target's
 * @returns the first difference, such as `/etc/motd has another content`, if there is one
 * @throws {VeneerError} `invalid argument` for input that is not a whole tar
 */
export function compareTars(first: number, second: number): string | undefined {
  using a = openTarInput(first);
  using b = openTarInput(second);
  const one = new TarReader(a.window), other = new TarReader(b.window);
  for (;;) {
    const hasOne = one.next(), hasOther = other.next();
    if (!hasOne && !hasOther) return undefined;
    if (!hasOther) return `${nameOf(one.entry)} is missing in the target`;
    if (!hasOne) return `${nameOf(other.entry)} is in the target alone`;
    const difference = differenceOf(one.entry, other.entry);
    if (difference !== undefined) return difference;
    if (!hasSameContent(new Content(one), new Content(other))) {
      return `${nameOf(one.entry)} has another content`;
    }
  }
}

const nameOf = ({ text }: LayerPath) => `/${text}`;

const bytesOf = ({ path, pathLength }: LayerPath) => path.subarray(0, pathLength);

function differenceOf(a: Entry, b: Entry): string | undefined {
  if (Buffer.compare(bytesOf(a), bytesOf(b)) !== 0) {
    return `${nameOf(a)} stands where the target has ${nameOf(b)}`;
  }
  const mine = factsOf(a), others = factsOf(b);
  // A layer has a time of its root only if it changes the root otherwise.
  const isRoot = a.pathLength === 0;
  const at = mine.findIndex((fact, i) => fact !== others[i] && !(isRoot && FACTS[i] === TIME));
  return at < 0
    ? undefined
    : `${nameOf(a)} has another ${FACTS[at]}: ${others[at]}, not ${mine[at]}`;
}

const TIME = "time of change";

/** The names of {@linkcode factsOf}. */
const FACTS = [
  "type",
  "mode",
  "owner",
  "length",
  TIME,
  "device number",
  "target",
  "further name",
  "set of attributes",
];

/** All that an entry says but its data, as texts. */
function factsOf(entry: Entry): string[] {
  const { type, mode, uid, gid, seconds, nanos, major, minor, xattrs, target, linked } = entry;
  return [
    String.fromCharCode(type),
    mode.toString(8),
    `${uid}:${gid}`,
    String(entry.fileSize),
    `${seconds}.${String(nanos).padStart(9, "0")}`,
    `${major}:${minor}`,
    target?.toString() ?? "",
    bytesOf(linked).toHex(),
    xattrs.map(([name, value]) => `${name}=${value.toHex()}`).sort().join(" "),
  ];
}

/** The data of the entry that a reader stands at, holes included. */
class Content {
  readonly window: Window;
  readonly entry: Entry;
  readonly #parts: readonly number[];
  #at = 0;
  #part = 0;

  constructor({ window, entry }: TarReader) {
    this.window = window;
    this.entry = entry;
    this.#parts = entry.sparse?.parts ?? [0, entry.size];
  }

  get left(): number {
    return this.entry.fileSize - this.#at;
  }

  /** Bytes to come that are all data or all hole; bytes of data are in the window. */
  next(): { readonly isData: boolean; readonly count: number } {
    while (this.#part < this.#parts.length && this.#at >= this.#end) this.#part += 2;
    const start = this.#parts[this.#part] ?? Infinity;
    if (this.#at < start) return { isData: false, count: Math.min(start - this.#at, this.left) };
    const { window } = this;
    if (!window.fill(1)) throw cutShort(window.position, this.entry.text);
    return { isData: true, count: Math.min(this.#end - this.#at, window.end - window.at) };
  }

  get #end(): number {
    return this.#parts[this.#part] + this.#parts[this.#part + 1];
  }

  /** Moves on; returns the bytes of data. */
  take(count: number, isData: boolean): Uint8Array {
    this.#at += count;
    const { window } = this, data = window.bytes.subarray(window.at, window.at + count);
    if (isData) window.take(count);
    return data;
  }
}

/** File systems find holes in other places, so the content counts and not where it is stored. */
function hasSameContent(a: Content, b: Content): boolean {
  while (a.left > 0) {
    const one = a.next(), other = b.next(), count = Math.min(one.count, other.count);
    const mine = a.take(count, one.isData), others = b.take(count, other.isData);
    if (one.isData && other.isData) {
      if (Buffer.compare(mine, others) !== 0) return false;
    } else if (one.isData !== other.isData) {
      if ((one.isData ? mine : others).some((byte) => byte !== 0)) return false;
    }
  }
  return true;
}
