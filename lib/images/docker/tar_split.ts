/**
 * Docker's record of a layer's tar, `tar-split.json.gz`. It has a line of JSON for each part of the
 * tar: either bytes, or a file whose content the layer keeps.
 *
 * @module
 */
import { Decompressor } from "../../tar/read/decompress.ts";
import { RingWindow } from "../../tar/read/ring_window.ts";
import type { Window } from "../../tar/read/window.ts";
import { encode } from "../../../ffi/cstring.ts";
import { VeneerError } from "../../base/errors.ts";
import type { ContentCheck, RebuildPart } from "../rebuild.ts";
import { Crc64 } from "./crc64.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** `Type` of an entry. */
const FILE = 1, SEGMENT = 2;

/**
 * The longest line that is read: Docker cuts bytes into pieces of 1 MiB and writes them in base64.
 */
const LONGEST_LINE = 64 << 20;

const LINE_END = 0x0a;

/**
 * The parts of a layer's tar, in their order.
 *
 * @param fd the open record, at its beginning; the caller closes it
 * @param what its path in messages
 * @param isChecked whether each file is compared with its recorded checksum, which is slow
 * @throws {VeneerError} `corrupt store`
 */
export function* readTarSplit(
  fd: number,
  what: string,
  isChecked: boolean,
): Generator<RebuildPart> {
  const decompressor = new Decompressor("gzip", fd, new Uint8Array());
  try {
    const window = new RingWindow(decompressor.ring, () => {
      try {
        decompressor.check();
      } catch (error) {
        throw damaged(what, error);
      }
    });
    for (const line of linesOf(window, what)) {
      const part = partOf(line, what, isChecked);
      if (part !== undefined) yield part;
    }
  } finally {
    decompressor.close();
  }
}

const damaged = (what: string, cause?: unknown) =>
  new VeneerError("corrupt store", `${what} is damaged: it is not the record of a layer's tar`, {
    cause,
  });

function* linesOf(window: Window, what: string): Generator<string> {
  let parts: Bytes[] = [], length = 0;
  const decoder = new TextDecoder("utf-8", { fatal: false });
  const joined = () => {
    const line = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      line.set(part, at);
      at += part.length;
    }
    [parts, length] = [[], 0];
    return decoder.decode(line);
  };
  while (window.fill(1)) {
    const bytes = window.bytes.subarray(window.at, window.end);
    const end = bytes.indexOf(LINE_END), count = end < 0 ? bytes.length : end;
    parts.push(bytes.slice(0, count));
    length += count;
    if (length > LONGEST_LINE) throw damaged(what);
    window.take(end < 0 ? count : count + 1);
    if (end >= 0) yield joined();
  }
  if (length > 0) yield joined();
}

function partOf(line: string, what: string, isChecked: boolean): RebuildPart | undefined {
  if (line.trim() === "") return undefined;
  try {
    const { type, name, name_raw, size = 0, payload } = JSON.parse(line);
    const bytes = typeof payload === "string" ? Uint8Array.fromBase64(payload) : new Uint8Array();
    if (type === SEGMENT) return { raw: bytes };
    if (type !== FILE || !Number.isSafeInteger(size) || size < 0) throw damaged(what);
    if (size === 0) return undefined;
    const path = typeof name_raw === "string" && name_raw !== ""
      ? Uint8Array.fromBase64(name_raw)
      : encode(String(name));
    const newCheck = isChecked ? () => new SumCheck(bytes.toHex()) : undefined;
    return { path, size, newCheck };
  } catch (error) {
    throw damaged(what, error);
  }
}

/** Compares a file with its checksum. */
class SumCheck implements ContentCheck {
  readonly #crc = new Crc64();

  constructor(readonly expected: string) {}

  update(bytes: Bytes): void {
    this.#crc.update(bytes);
  }

  agrees(): boolean {
    return this.#crc.hex === this.expected;
  }
}
