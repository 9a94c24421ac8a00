/** File names are any bytes: none may be lost on the way through JavaScript's strings. */
import { assertEquals, assertLess, assertNotEquals, assertThrows } from "@std/assert";
import { randomOf } from "../support/random.ts";
import { cstring, decode, encode, pathText } from "../../ffi/cstring.ts";
import { readNames } from "../../ffi/directory.ts";
import { entryName, nameText } from "../../ffi/entry_name.ts";
import { close, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY, open, openat } from "../../ffi/files.ts";
import { lstat } from "../../ffi/stat.ts";
import { tempDir } from "../support/cases.ts";
import { cpuTime, limitHere } from "../support/cpu_time.ts";

const roundTrip = (bytes: Uint8Array) => assertEquals(encode(decode(bytes)), bytes);

Deno.test("every byte and every pair of bytes survive decoding and encoding", () => {
  for (let a = 0; a < 256; a++) {
    roundTrip(Uint8Array.of(a));
    for (let b = 0; b < 256; b++) roundTrip(Uint8Array.of(a, b));
  }
});

Deno.test("what looks like UTF-8 but is not survives", () => {
  const hostile = [
    [0xc0, 0xaf], // overlong "/"
    [0xe0, 0x80, 0xaf],
    [0xed, 0xa0, 0x80], // UTF-8 of a lone high surrogate
    [0xed, 0xb2, 0x80], // UTF-8 of U+DC80, our own escape
    [0xf4, 0x90, 0x80, 0x80], // beyond U+10FFFF
    [0xf0, 0x9f, 0x92], // cut short
    [0xef, 0xbb, 0xbf, 0x61], // a byte order mark
    [0x61, 0xff, 0xf0, 0x9f, 0x98, 0x80, 0x80, 0x62],
    [0xf0, 0x9f, 0x98, 0x80, 0x80], // an escape right after a surrogate pair
  ];
  for (const bytes of hostile) roundTrip(Uint8Array.from(bytes));
});

Deno.test("random bytes survive, and distinct bytes give distinct texts", () => {
  const seen = new Map<string, string>();
  for (let i = 0; i < 20_000; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(1 + i % 12));
    roundTrip(bytes);
    const text = decode(bytes), hex = bytes.toHex();
    assertEquals(seen.get(text) ?? hex, hex);
    seen.set(text, hex);
  }
  assertNotEquals(decode(Uint8Array.of(0x80)), decode(Uint8Array.of(0x81)));
});

Deno.test("valid UTF-8 is its own text", () => {
  for (const text of ["", "a", "ä", "日本語", "😀", "\ufeffx", "e\u0301"]) {
    assertEquals(decode(new TextEncoder().encode(text)), text);
  }
});

Deno.test("cstring ends with NUL and refuses one inside", () => {
  assertEquals(cstring("ab"), Uint8Array.of(0x61, 0x62, 0));
  assertThrows(() => cstring("a\0b"), TypeError, "NUL");
  assertThrows(() => cstring(Uint8Array.of(0x61)), TypeError, "end with their only NUL");
  assertEquals(pathText(Uint8Array.of(0x61, 0xff, 0)), "a\udcff");
});

Deno.test("a file of every possible one-byte name is made, listed and found", () => {
  using dir = tempDir();
  const dirfd = open(dir.path, O_RDONLY | O_DIRECTORY);
  const names: string[] = [];
  for (let byte = 1; byte < 256; byte++) {
    if (byte === 0x2f || byte === 0x2e) continue;
    const name = entryName(Uint8Array.of(byte));
    close(openat(dirfd, name, O_WRONLY | O_CREAT, 0o600));
    names.push(nameText(name));
  }
  assertEquals(readNames(dirfd), names.toSorted());
  for (const name of names) assertEquals(lstat(`${dir.path}/${name}`).isFile, true);
  close(dirfd);
});

/** Decodes one sequence after the other with the platform's decoder. */
function slowly(bytes: Uint8Array): string {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const tried = [1, 2, 3, 4].filter((length) => at + length <= bytes.length).flatMap((length) => {
      try {
        return [{ length, sequence: strict.decode(bytes.subarray(at, at + length)) }];
      } catch {
        return [];
      }
    });
    text += tried.at(0)?.sequence ?? String.fromCharCode(0xdc00 + bytes[at]);
    at += tried.at(0)?.length ?? 1;
  }
  return text;
}

Deno.test("decode: escapes exactly the bytes that the platform's decoder refuses", () => {
  const edges = [0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0];
  edges.push(0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff);
  for (let seed = 0; seed < 1500; seed++) {
    const random = randomOf(seed);
    const bytes = new Uint8Array(random(48)).map(() => edges[random(edges.length)]);
    assertEquals(decode(bytes), slowly(bytes), bytes.toHex());
    roundTrip(bytes);
  }
});

Deno.test("decode: long names that are not UTF-8 take no longer than other work on a file", () => {
  const bytes = new Uint8Array(4095).fill(0xff);
  const start = cpuTime();
  for (let turn = 0; turn < 200; turn++) roundTrip(bytes);
  // An exception for each byte takes 20 to 30 s.
  assertLess(cpuTime() - start, limitHere(5000));
});
