/**
 * Gzip streams for tests: of any shape, whole, mutated and cut, from one number on.
 *
 * @module
 */
import { crc32, deflateRawSync } from "node:zlib";
import { concat } from "./tar_builder.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Numbers that look random, the same for the same seed. */
export class Numbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 to `count` - 1. */
  below(count: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.#state / 2 ** 32 * count);
  }

  among<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }

  bytes(count: number): Bytes {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }
}

/** A header with fields of the given flags (RFC 1952, 2.3.1), all of them right. */
export function header(flags: number, field: Uint8Array = new Uint8Array(3)): Bytes {
  const parts = [0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3];
  if (flags & 4) parts.push(field.length & 255, field.length >> 8, ...field);
  if (flags & 8) parts.push(0x6e, 0x61, 0);
  if (flags & 16) parts.push(0);
  if (flags & 2) {
    const sum = crc32(Uint8Array.from(parts));
    parts.push(sum & 255, sum >> 8 & 255);
  }
  return Uint8Array.from(parts);
}

/** A member: a header, deflated data and a trailer. */
export function member(plain: Uint8Array, head = header(0), options = {}): Bytes {
  const trailer = new DataView(new ArrayBuffer(8));
  trailer.setUint32(0, crc32(plain), true);
  trailer.setUint32(4, plain.length, true);
  return concat([head, deflateRawSync(plain, options), new Uint8Array(trailer.buffer)]);
}

/** Bytes that deflate in several ways. */
function plainBytes(numbers: Numbers): Bytes {
  const plain = new Uint8Array(numbers.among([0, 1, 10, 300, 3000, 40_000]));
  const next = numbers.among<(i: number) => number>([
    () => numbers.below(256),
    () => 97 + numbers.below(4),
    (i) => i >> 5,
    (i) => i > 20 && numbers.below(10) > 0 ? plain[i - 1 - numbers.below(19)] : numbers.below(256),
  ]);
  for (let i = 0; i < plain.length; i++) plain[i] = next(i);
  return plain;
}

/** A stream that is whole, mutated in a few bytes or cut, with one or more members. */
export function anyStream(numbers: Numbers): Bytes {
  const parts: Bytes[] = [];
  do {
    const head = header(numbers.below(3) === 0 ? numbers.below(32) : 0, numbers.bytes(9));
    parts.push(member(plainBytes(numbers), head, {
      level: numbers.below(10),
      strategy: numbers.below(5),
      memLevel: 1 + numbers.below(9),
    }));
  } while (numbers.below(3) === 0);
  if (numbers.below(6) === 0) parts.push(new Uint8Array(numbers.below(20)));
  const stream = concat(parts), kind = numbers.below(8);
  if (kind > 4) return kind === 7 ? stream : stream.slice(0, numbers.below(stream.length + 1));
  for (let i = numbers.below(3); i >= 0; i--) {
    const at = numbers.below(numbers.among([stream.length, Math.min(stream.length, 60)]));
    stream[at] = numbers.among([stream[at] ^ 1 << numbers.below(8), numbers.below(256)]);
  }
  return stream;
}
