import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { checkId, isId, resolveId } from "../../lib/base/ids.ts";

Deno.test("ids are letters, digits, '_', '.' and '-', and begin with a letter or digit", () => {
  for (const id of ["a", "0", "Z9", "a.b", "a-b_c.d", "1..2", "a".repeat(200), "f00-init"]) {
    assert(isId(id), id);
    checkId(id);
  }
  const bad = [
    "",
    ".",
    "..",
    ".a",
    "-a",
    "_a",
    "a/b",
    "/",
    "a b",
    "a\n",
    "a\0",
    "é",
    "a\u{1f600}",
    "../a",
  ];
  bad.push("a".repeat(201), "\udc80");
  for (const id of bad) {
    assertFalse(isId(id), JSON.stringify(id));
    const error = assertThrows(() => checkId(id), VeneerError);
    assertEquals(error.code, "invalid argument");
    assertFalse(/[\n\0]/.test(error.message), error.message);
  }
});

Deno.test("a message about an overlong id stays short", () => {
  const { message } = assertThrows(() => checkId("x".repeat(100_000)), VeneerError);
  assert(message.length < 200, message);
  assert(message.includes("100000"), message);
});

Deno.test("resolveId takes an id, or a prefix that one id alone begins with", () => {
  const ids = ["abc", "abcd", "abx", "b", "bb"];
  assertEquals(resolveId("abcd", ids), "abcd");
  assertEquals(resolveId("abx", ids), "abx");
  assertEquals(resolveId("abc", ids), "abc", "an id wins over being a prefix");
  assertEquals(resolveId("b", ids), "b");
  assertEquals(resolveId("bb", ids), "bb");
  assertEquals(assertThrows(() => resolveId("c", ids), VeneerError).code, "not found");
  const several = assertThrows(() => resolveId("ab", ids), VeneerError, "abc, abcd, abx;");
  assertEquals(several.code, "invalid argument");
  assertThrows(() => resolveId("l", ["l1", "l2", "l3", "l4"]), VeneerError, "l1, l2, l3, …;");
});

Deno.test("resolveId checks what it is given: an empty prefix names nothing", () => {
  assertEquals(assertThrows(() => resolveId("", ["only"]), VeneerError).code, "invalid argument");
  assertEquals(assertThrows(() => resolveId("..", ["a"]), VeneerError).code, "invalid argument");
});
