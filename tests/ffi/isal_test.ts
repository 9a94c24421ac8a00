/**
 * ISA-L is trusted only if it keeps its state as version 2.30 does.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import {
  DeflateStream,
  HEADROOM,
  inflatesAsExpected,
  type IsalLibrary,
  LIBRARY,
  OFFSETS,
  STATE_SIZE,
} from "../../ffi/isal.ts";
import { needs } from "../support/cases.ts";

type State = Uint8Array<ArrayBuffer>;

const memory = () => new Uint8Array(HEADROOM + 100);
const lacking = DeflateStream.open(memory(), memory()) === undefined ? LIBRARY : undefined;

/** The library, with something done after each call. */
function changed(after: (state: State, words: DataView) => void, result = 0): IsalLibrary {
  const { symbols } = Deno.dlopen(LIBRARY, {
    isal_inflate_init: { parameters: ["buffer"], result: "void" },
    isal_inflate_reset: { parameters: ["buffer"], result: "void" },
    isal_inflate: { parameters: ["buffer"], result: "i32" },
  });
  return {
    ...symbols,
    isal_inflate: (state: State) => {
      const found = symbols.isal_inflate(state);
      after(state, new DataView(state.buffer));
      return result || found;
    },
  } as IsalLibrary;
}

const add = (words: DataView, at: number, more: number) =>
  words.setUint32(at, words.getUint32(at, true) + more, true);

needs(lacking, "isal: a library with another state is not trusted", () => {
  assertEquals(inflatesAsExpected(changed(() => {})), true);
  const others: Record<string, IsalLibrary> = {
    "a larger state": changed((state) => state[STATE_SIZE] = 1),
    "a much larger state": changed((state) => state[state.length - 1] = 1),
    "another checksum": changed((_, words) => add(words, OFFSETS.crc, 1)),
    "another count": changed((_, words) => add(words, OFFSETS.total_out, 1)),
    "another end": changed((_, words) => words.setUint32(OFFSETS.block_state, 4, true)),
    "an early end": changed((_, words) => words.setUint32(OFFSETS.block_state, 5, true)),
    "too much input used": changed((_, words) => add(words, OFFSETS.avail_in, -1)),
    "too much output": changed((_, words) => add(words, OFFSETS.avail_out, -1)),
    "another place of input": changed((_, words) => add(words, OFFSETS.next_in, 1)),
    "another place of output": changed((_, words) => add(words, OFFSETS.next_out, 1)),
    "bits that are not there": changed((_, words) => add(words, OFFSETS.read_in_length, 80)),
    "other bits": changed((_, words) => words.setBigUint64(OFFSETS.read_in, 0n, true)),
    "a rest in a buffer": changed((_, words) => words.setInt16(OFFSETS.tmp_in_size, 1, true)),
    "an error": changed(() => {}, -1),
    "no progress": { ...changed(() => {}), isal_inflate: () => 0 } as IsalLibrary,
  };
  for (const [what, library] of Object.entries(others)) {
    assertEquals(inflatesAsExpected(library), false, what);
  }
});

Deno.test("isal: without the library there is no stream", () => {
  assertEquals(DeflateStream.open(memory(), memory(), "libisal.so.none"), undefined);
  // A library without its functions.
  assertEquals(DeflateStream.open(memory(), memory(), "libc.so.6"), undefined);
});

needs(lacking, "isal: no call gets a length beyond its memory", () => {
  const stream = DeflateStream.open(memory(), memory())!;
  const calls: [number, number, number][] = [[8, 109, 0], [8, 7, 0], [8, 20, 109], [7, 20, 0]];
  for (const [start, end, filled] of calls) {
    assertThrows(() => stream.inflate(start, end, filled), RangeError);
  }
});
