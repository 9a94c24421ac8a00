import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { decode, encode } from "../../ffi/cstring.ts";
import { ftruncate, O_CREAT, O_RDWR, open, pwriteAll, withFd } from "../../ffi/files.ts";
import { encodeHeader, PaxRecords, type TarRecord } from "../../lib/tar/export/encode.ts";
import { BLOCK, REGULAR } from "../../lib/tar/header.ts";
import { Extensions } from "../../lib/tar/read/pax.ts";
import { must, tempDir } from "../support/cases.ts";

/** An entry that needs no pax record. */
const PLAIN: TarRecord = {
  path: encode("plain"),
  type: REGULAR,
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  seconds: 0,
  nanos: 0,
  link: new Uint8Array(0),
  major: 0,
  minor: 0,
  xattrs: [],
};

Deno.test("numbers beyond their fields go to pax records", () => {
  using dir = tempDir();
  const entry: TarRecord = {
    ...PLAIN,
    path: encode("huge"),
    uid: 0o7777777,
    gid: 0o10000000,
    size: 9 * 2 ** 30 + 1,
    seconds: 8 ** 11,
  };
  const records = new PaxRecords();
  assert(records.take(entry));
  assertEquals(
    decode(records.bytes),
    "19 size=9663676417\n" + "15 gid=2097152\n" + "20 mtime=8589934592\n",
  );
  const file = `${dir.path}/tar`;
  const block = new Uint8Array(BLOCK);
  withFd(open(file, O_RDWR | O_CREAT, 0o600), (out) => {
    records.encodeHeader(block, 0);
    pwriteAll(out, block, 0n);
    pwriteAll(out, records.bytes, 512n);
    encodeHeader(entry, block, 0);
    pwriteAll(out, block, 1024n);
    ftruncate(out, BigInt(1536 + entry.size + 511 + 1024));
  });
  const line = must("tar", "--numeric-owner", "--full-time", "-tvf", file);
  assertStringIncludes(line, "2097151/2097152");
  assertStringIncludes(line, "9663676417 2242-03-16 12:56:32 huge");
});

Deno.test("attributes' names with = and % are written as GNU tar writes them, and read back as they were", () => {
  const cases: [name: string, key: string][] = [
    ["user.plain", "user.plain"],
    ["user.a=b", "user.a%3Db"],
    ["user.=", "user.%3D"],
    ["user.%3D", "user.%253D"],
    ["user.%25", "user.%2525"],
    ["user.%=%%25", "user.%25%3D%25%2525"],
    // What reads the same either way stays as it is, for readers that decode nothing.
    ["user.100%", "user.100%"],
    ["user.%3d", "user.%3d"],
    ["user.%41", "user.%41"],
  ];
  for (const [name, key] of cases) {
    const records = new PaxRecords();
    const value = encode("a=b%3D");
    records.take({ ...PLAIN, xattrs: [[name, value]] });
    assertStringIncludes(decode(records.bytes), ` SCHILY.xattr.${key}=a=b%3D\n`);
    const read = new Extensions();
    read.parse(records.bytes);
    assertEquals(read.xattrs, [[name, value]]);
  }
});

Deno.test("times before the epoch and fractions are written without loss", () => {
  const cases: [number, number, string | undefined][] = [
    [0, 0, undefined],
    [1, 0, undefined],
    [0, 1, "0.000000001"],
    [5, 500_000_000, "5.5"],
    [-1, 0, "-1"],
    [-1, 500_000_000, "-0.5"],
    [-2, 999_999_999, "-1.000000001"],
    [-(2 ** 31), 0, "-2147483648"],
    [2 ** 33 - 1, 120, "8589934591.00000012"],
  ];
  const records = new PaxRecords();
  for (const [seconds, nanos, text] of cases) {
    records.take({ ...PLAIN, seconds, nanos });
    assertEquals(/mtime=(.*)\n/.exec(decode(records.bytes))?.[1], text);
  }
});
