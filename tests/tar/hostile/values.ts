/**
 * What a hostile tar says where an honest one has a name, a target or a number. Text is Latin-1: a character
 * is a byte.
 *
 * @module
 */
import { bytes, paxRecord, record } from "../support/tar_builder.ts";
import { concat } from "../support/tar_builder.ts";

/** All control bytes but NUL. */
export const CONTROLS = Array.from({ length: 0x1f }, (_, i) => String.fromCharCode(i + 1))
  .join("") + "\x7f";

/** Names that lead above the layer's root, so that every form of them must be refused. */
export const CLIMBING = [
  "..",
  "../x",
  "/..",
  "/../x",
  "a/../..",
  "a/../../x",
  "./../x",
  "../../../../victim",
  "../../../../etc/passwd",
  "x/../../../other",
] as const;

/** Names that hold a NUL: must be refused where the form has a length, and end there where it has none. */
export const WITH_NUL = [
  "\0",
  "\0x",
  "x\0",
  "a\0b",
  "..\0x",
  "..\0x/y",
  "..\x001/..\x002/..\x003/..\x004/victim",
  "a/..\0x",
  ".\0x",
  ".wh...\0x",
  ".wh..\0x",
  "..\0x/.wh..wh..opq",
  "d/.wh...\0x",
  "x/\0",
] as const;

/** Other odd names: taken or refused, but never followed out of the layer. */
export const ODD_NAMES = [
  "",
  ".",
  "./",
  "/",
  "//",
  "./.",
  "a/..",
  "...",
  "....",
  " ",
  ".. ",
  "..\n",
  "a//b",
  "dir/",
  "new/dir/file",
  "\n",
  CONTROLS,
  "\xff\xfe",
  "\xc0\xae\xc0\xae/x",
  "\xef\xbc\x8e\xef\xbc\x8e/x",
  "\xed\xb2\x80",
  "..\\x",
  "C:\\x",
  "-rf",
  "~root/x",
  "%2e%2e/x",
  "%s%n",
  "n".repeat(99),
  "n".repeat(100),
  "n".repeat(243),
  "n".repeat(255),
  "n".repeat(256),
  "d/".repeat(2047) + "e",
  "d/".repeat(2048) + "e",
  "e/".repeat(300) + "f",
  "/etc/passwd",
  "proc/self/root/x",
  "pfile",
  "pfile/x",
  "plink",
  "plink/x",
  "pdir",
  "pdir/x",
  "pdir/x/y",
  "abs/passwd",
  "up/victim",
  "up/x/y",
  "loop",
  "loop/x",
  "dangling/x",
  ".wh.",
  ".wh..",
  ".wh...",
  ".wh.pfile",
  ".wh.pdir",
  ".wh.absent",
  ".wh.up",
  "up/.wh.victim",
  "pdir/.wh.x",
  ".wh..wh..opq",
  "pdir/.wh..wh..opq",
  "absent/.wh..wh..opq",
  "pfile/.wh..wh..opq",
  ".wh..wh.plnk/1.2",
  ".wh..wh..opq/x",
  ".wh.x/y",
  ".wh.x/.wh.y",
  ".wh." + "n".repeat(251),
  ".wh." + "n".repeat(252),
] as const;

/** Targets of links of either kind. */
export const TARGETS = [
  "",
  ".",
  "..",
  "/",
  "//",
  "./.",
  " ",
  "\n",
  CONTROLS,
  "\xff\xfe",
  "\0",
  "a\0b",
  "..\0x",
  "../victim",
  "../../victim",
  "../../../victim",
  "../../../../victim",
  "../../../../../../../../../../etc",
  "../link",
  "../../other/diff/file",
  "../other/file",
  "/etc",
  "/etc/passwd",
  "/proc/self/root",
  "/proc/self/cwd",
  "/proc/self/fd/3",
  "/dev/shm",
  "l",
  "l/l",
  "loop",
  "up",
  "up/victim",
  "abs",
  "pfile",
  "pdir",
  "pdir/x",
  "pdir/..",
  "plink",
  "absent",
  "absent/../..",
  "dangling",
  ".wh.pfile",
  "t".repeat(100),
  "t".repeat(255),
  "t".repeat(256),
  "t/".repeat(2000),
  "y/".repeat(1500) + "z",
  "t".repeat(4095),
  "t".repeat(4096),
] as const;

/** A big-endian number in two's complement with the mark of that form, as GNU writes what octal cannot hold. */
export function base256(value: bigint, width: number): Uint8Array<ArrayBuffer> {
  const field = new Uint8Array(width);
  for (let i = width - 1; i >= 0; i--, value >>= 8n) field[i] = Number(value & 0xffn);
  field[0] |= 0x80;
  return field;
}

/** What a numeric field of a header may hold, by its width in bytes. */
export function oddFields(width: number): (string | Uint8Array)[] {
  return [
    "",
    "\0" + "1".repeat(width - 1),
    " ".repeat(width),
    "7".repeat(width),
    "7".repeat(width - 1) + "\0",
    "8".repeat(width - 1),
    "-1",
    "+1",
    "0x1f",
    "1e3",
    "1\x012",
    " 1 2 ",
    "\xff".repeat(width),
    "\x80" + "\0".repeat(width - 1),
    "\xc0" + "\0".repeat(width - 1),
    "\x80" + "\xff".repeat(width - 1),
    base256(-1n, width),
    base256(-2000n, width),
    base256(1n << 21n, width),
    base256(1n << 31n, width),
    base256(1n << 32n, width),
    base256((1n << 53n) - 1n, width),
    base256(1n << 53n, width),
  ];
}

/** What a number of pax may be. */
export const ODD_DECIMALS = [
  "",
  "0",
  "-0",
  "-1",
  "007",
  "4294967294",
  "4294967295",
  "4294967296",
  "9007199254740991",
  "9007199254740992",
  "99999999999999999999",
  "1e9",
  "0x10",
  "1.5",
  "1,5",
  " 1",
  "1 ",
  "1\n",
  "1\0",
  "\x011",
  "NaN",
  "-",
  "\xd9\xa1",
] as const;

/** A pax header of records in order, keys repeated or not. */
export function paxOf(
  records: readonly (readonly [key: string, value: string | Uint8Array])[],
  type = "x",
): Uint8Array<ArrayBuffer> {
  return paxRaw(concat(records.map(([key, value]) => paxRecord(key, value))), type);
}

/** A pax header of any bytes. */
export function paxRaw(data: string | Uint8Array, type = "x"): Uint8Array<ArrayBuffer> {
  return record({ name: "PaxHeaders/x", type, data });
}

/** GNU's header of a long name (`L`) or a long target (`K`). */
export function gnuLong(text: string, type: "L" | "K" = "L", end = "\0"): Uint8Array<ArrayBuffer> {
  return record({ name: "././@LongLink", type, magic: "gnu", data: bytes(text + end) });
}
