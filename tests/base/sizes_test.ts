import { assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { formatSize, parseSize } from "../../lib/base/sizes.ts";

const KiB = 1024, MiB = KiB ** 2, GiB = KiB ** 3, TiB = KiB ** 4, PiB = KiB ** 5;

Deno.test("parseSize reads what RAMInBytes reads", () => {
  const cases: [text: string, bytes: number][] = [
    ["32", 32],
    ["32b", 32],
    ["32B", 32],
    ["32k", 32 * KiB],
    ["32K", 32 * KiB],
    ["32kb", 32 * KiB],
    ["32Kb", 32 * KiB],
    ["32Kib", 32 * KiB],
    ["32KIB", 32 * KiB],
    ["32Mb", 32 * MiB],
    ["32Gb", 32 * GiB],
    ["32Tb", 32 * TiB],
    ["3Pb", 3 * PiB],
    ["3PB", 3 * PiB],
    ["3P", 3 * PiB],
    ["32.3", 32],
    ["32.3 mb", 33869004],
    ["0.3", 0],
    [".3kB", 307],
    ["32.", 32],
    ["32.b", 32],
    ["32 ", 32],
    ["32 b", 32],
    ["+5k", 5 * KiB],
    ["1e3", 1000],
    ["1.5E+2k", 150 * KiB],
    ["0", 0],
    ["1.5 GiB", 1.5 * GiB],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, bytes] of cases) assertEquals(parseSize(text), bytes, text);
});

Deno.test("parseSize refuses what RAMInBytes refuses", () => {
  const cases = [
    "",
    "hello",
    ".",
    ". ",
    " ",
    "  ",
    " .",
    " . ",
    "-32",
    "-32b",
    "-32 B",
    "32bm",
    "32bk",
  ];
  cases.push(
    "32bb",
    "32ki",
    "32i",
    "32ib",
    "32kbi",
    "32  k",
    " 32",
    "32 mb ",
    "32mm",
    "32xb",
    "1.2.3",
  );
  cases.push("1 000", "1_000", "e3", "0x10", "NaN", "inf", "32\n", "٣");
  for (const text of cases) {
    const error = assertThrows(
      () => parseSize(text, "overlay2.size"),
      VeneerError,
      undefined,
      text,
    );
    assertEquals(error.code, "invalid argument");
    assertEquals(error.message.includes("overlay2.size"), true, error.message);
    assertEquals(error.message.includes("\n"), false);
  }
});

Deno.test("parseSize refuses what a number cannot hold exactly", () => {
  for (const text of ["8P", "9007199254740992", "1e400", "99999999999999999999P"]) {
    assertThrows(() => parseSize(text), VeneerError, "more than 8 PiB");
  }
});

Deno.test("formatSize takes the largest unit that fits", () => {
  const cases: [bytes: number, text: string][] = [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [10 * MiB, "10 MiB"],
    [MiB - 1, "1 MiB"],
    [1234567, "1.177 MiB"],
    [5 * PiB, "5 PiB"],
    [5000 * PiB, "5000 PiB"],
  ];
  for (const [bytes, text] of cases) assertEquals(formatSize(bytes), text);
});
