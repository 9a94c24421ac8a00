/** Archives that are wrong as such: headers, extended headers, ends, compression. */
import { gzipSync } from "node:zlib";
import { bytes, concat, dir, file, record, tar } from "../support/tar_builder.ts";
import { hostile, type HostileTar, type Part } from "./hostile_tar.ts";
import { gnuLong, paxOf, paxRaw } from "./values.ts";

const f = file("f", "xxxxx");

/** What stands before an entry `f`. */
const EXTENSIONS: Readonly<Record<string, readonly Uint8Array[]>> = {
  "two long names": [gnuLong("one"), gnuLong("../two")],
  "two long targets": [gnuLong("one", "K"), gnuLong("two", "K")],
  "a long name without an end": [gnuLong("name", "L", "")],
  "an empty long name": [gnuLong("", "L")],
  "a long name of nothing": [gnuLong("", "L", "")],
  "a long name of NULs": [gnuLong("\0".repeat(600))],
  "a long name with more behind its NUL": [gnuLong("name\0../../../victim")],
  "a long name and pax": [gnuLong("../up"), paxOf([["path", "f2"]])],
  "pax and a long name": [paxOf([["path", "f2"]]), gnuLong("../up")],
  "pax twice": [paxOf([["path", "one"]]), paxOf([["path", "two"]])],
  "a path twice in one": [paxOf([["path", "one"], ["path", "../two"]])],
  "a path and a sparse name": [paxOf([["path", "one"], ["GNU.sparse.name", "../two"]])],
  "a global path": [paxOf([["path", "../../../../victim"]], "g")],
  "a global path with NUL": [paxOf([["path", "..\0x"]], "g")],
  "Solaris's pax": [paxOf([["path", "../up"]], "X")],
  "a key with NUL": [paxOf([["path\0", "x"]])],
  "a user's name with NUL": [paxOf([["uname", "a\0b"]])],
  "a million letters": [paxOf([["comment", "x".repeat(1_000_000)]])],
  "two million letters": [paxOf([["comment", "x".repeat(2_000_000)]])],
};

/** What pax records may look like. */
const RECORDS = [
  "",
  "\0".repeat(512),
  "0 path=x\n",
  "9 path=x",
  "8 path=x\n",
  "99 path=x\n",
  "-9 path=x\n",
  "+9 path=x\n",
  "09 path=x\n",
  "9\tpath=x\n",
  "9  path=x\n",
  "99999999999999999999 path=x\n",
  "1".repeat(600) + " path=x\n",
  "5 =x\n",
  "4 =\n",
  "6 path\n",
  "10 path=x\0\n",
  "9 path=x\n\0\0\0junk",
  "\xff\xff\xff\xff",
];

/** Headers by the bytes at their offsets. */
const PATCHES: Readonly<Record<string, readonly (readonly [number, string])[]>> = {
  "a magic of nonsense": [[257, "nonsense"]],
  "a magic with a slash": [[257, "ustar/00"]],
  "a version of nonsense": [[263, "99"]],
  "star's trailer": [[345, "../".repeat(40)], [508, "tar\0"]],
  "a prefix of dots": [[345, "../../.."]],
  "a prefix with NUL": [[345, "a\0../.."]],
  "names of owners": [[265, "\xff".repeat(64)]],
  "junk in the padding": [[500, "\xff".repeat(12)]],
};

function* parts(): Generator<[string, readonly Part[], HostileTar["expected"]?]> {
  for (const [what, before] of Object.entries(EXTENSIONS)) yield [what, [...before, f]];
  for (const data of RECORDS) yield [`pax ${JSON.stringify(data).slice(0, 40)}`, [paxRaw(data), f]];
  for (const [what, patches] of Object.entries(PATCHES)) {
    yield [what, [{ ...f, patches: patches.map(([at, text]) => [at, bytes(text)] as const) }]];
  }
  for (const checksum of [0, 1, 0o777777]) {
    yield [`checksum ${checksum}`, [{ ...f, checksum }], "refused"];
  }
  for (let type = 0; type < 256; type++) {
    const letter = String.fromCharCode(type);
    yield [`type ${JSON.stringify(letter)}`, [
      { name: "t", type: letter, link: "pfile", data: "xxxxx" },
      f,
    ]];
  }
  yield ["a lone zero block", [f, new Uint8Array(512), f], "refused"];
  yield ["pax before the end", [paxOf([["path", "x"]])], "refused"];
  yield ["a long name before the end", [gnuLong("x")], "refused"];
}

export function* oddArchives(): Generator<HostileTar> {
  for (const [what, list, expected] of parts()) yield hostile("archives", what, list, expected);
  const whole = tar(paxOf([["path", "p"]]), f, dir("d"), file("d/x", "x".repeat(600)));
  for (let length = 1; length < whole.length - 512; length += 97) {
    yield cut(`cut at ${length}`, whole.slice(0, length));
  }
  const gzipped = new Uint8Array(gzipSync(whole));
  for (let length = 1; length < gzipped.length; length += 13) {
    yield cut(`gzip cut at ${length}`, gzipped.slice(0, length));
  }
  const climbs = tar(paxOf([["GNU.sparse.name", "..\0x"]]), f);
  yield cut("gzip of a name with NUL", new Uint8Array(gzipSync(climbs)));
  yield cut("gzip of gzip", new Uint8Array(gzipSync(gzipped)));
  yield cut(
    "gzip of nonsense",
    concat([Uint8Array.of(0x1f, 0x8b, 8), new Uint8Array(600).fill(7)]),
  );
  yield cut(
    "zstd of nonsense",
    concat([Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd), new Uint8Array(600).fill(7)]),
  );
  yield cut("nonsense", new Uint8Array(2048).fill(0x78));
  yield cut("half a header", record(f).slice(0, 256));
}

function cut(name: string, bytes: Uint8Array<ArrayBuffer>): HostileTar {
  return { class: "archives", name, bytes, expected: "refused" };
}
