/** The names that calls on directories take: what can be one, and that nothing else can be passed. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { cstring } from "../../ffi/cstring.ts";
import { entryName, entryNameIn, nameText } from "../../ffi/entry_name.ts";
import { openat2, RESOLVE_NO_SYMLINKS, tryOpenat2 } from "../../ffi/files.ts";

Deno.test("whatever a directory can hold is a name, NUL-terminated and a copy", () => {
  const source = Uint8Array.of(0xff, 0x0a, 0x01);
  const name = entryName(source);
  source[0] = 0x2f;
  assertEquals([...name], [0xff, 0x0a, 0x01, 0]);
  assertEquals(nameText(entryName("été")), "été");
  for (const text of ["...", ".a", "..a", " ", "x".repeat(255), "\udcff"]) {
    assertEquals(nameText(entryName(text)), text);
  }
});

Deno.test("what leads elsewhere, or ends early for C, is no name, as text and as bytes", () => {
  const wrong: [name: string, reason: RegExp][] = [
    ["", /is empty/],
    [".", /stands for a directory itself/],
    ["..", /stands for a directory itself/],
    ["a/b", /holds a slash/],
    ["/", /holds a slash/],
    ["a/", /holds a slash/],
    ["..\0x", /holds a NUL byte/],
    ["\0", /holds a NUL byte/],
    ["a\0", /holds a NUL byte/],
    ["x".repeat(256), /has 256 bytes, 255 are allowed/],
    ["é".repeat(128), /has 256 bytes/],
  ];
  for (const [name, reason] of wrong) {
    for (const form of [name, new TextEncoder().encode(name)]) {
      assertMatch(assertThrows(() => entryName(form), RangeError).message, reason);
    }
  }
});

Deno.test("a name between two places of a buffer is checked like one by itself", () => {
  const bytes = new TextEncoder().encode("d/../name/.");
  assertEquals([...entryNameIn(bytes, 5, 9)], [...entryName("name")]);
  assertThrows(() => entryNameIn(bytes, 2, 4), RangeError, '".." is not a name');
  assertThrows(() => entryNameIn(bytes, 10, 11), RangeError, '"." is not a name');
  assertThrows(() => entryNameIn(bytes, 5, 10), RangeError, '"name/" is not a name');
  assertThrows(() => entryNameIn(bytes, 5, 5), RangeError, "it is empty");
});

Deno.test("C strings end at their only NUL, bytes too", () => {
  assertThrows(() => cstring("a\0b"), TypeError);
  assertThrows(() => cstring(Uint8Array.of(0x2e, 0x2e, 0, 0x78, 0)), TypeError);
  assertThrows(() => cstring(Uint8Array.of(0x61)), TypeError);
  assertThrows(() => cstring(new Uint8Array(0)), TypeError);
});

Deno.test("openat2 is never called without a rule that keeps the path inside", () => {
  assertThrows(() => tryOpenat2(-1, "x", 0, RESOLVE_NO_SYMLINKS), TypeError);
  assertThrows(() => openat2(-1, "x", 0, 0), TypeError);
});

Deno.test("every call on a directory's entry takes a checked name", () => {
  const folder = new URL("../../ffi/", import.meta.url);
  for (const { name } of Deno.readDirSync(folder)) {
    const source = Deno.readTextFileSync(new URL(name, folder));
    for (const [declaration] of source.matchAll(/^export function \w+\([^)]*\)/gm)) {
      for (const [, after] of declaration.matchAll(/\bdir(?:ectory|fd)?: number,\s*([^,)]*)/gi)) {
        if (/[nN]ame|[pP]ath/.test(after) && !/EntryName/.test(after)) {
          // Paths below a directory are opened by rules of resolution alone; one call only compares what it finds.
          assertMatch(
            declaration,
            /tryOpenat2|openat2|tryStatRelative/,
            `${name}: ${declaration}`,
          );
        }
      }
    }
  }
});
