/**
 * What the reader makes of headers: every dialect, long names, numbers and what is wrong with them.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decode } from "../../ffi/cstring.ts";
import { close, memfd, pwriteAll } from "../../ffi/files.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { number } from "../../lib/tar/header.ts";
import { TarReader } from "../../lib/tar/read/reader.ts";
import { DescriptorWindow } from "../../lib/tar/read/descriptor_window.ts";
import {
  bytes,
  concat,
  dir,
  file,
  hardlink,
  openEnded,
  pax,
  record,
  symlink,
  tar,
  type TarEntry,
} from "./support/tar_builder.ts";

/** Reads a whole tar into one line an entry. */
function read(archive: Uint8Array<ArrayBuffer>): string[] {
  const fd = memfd("tar");
  try {
    pwriteAll(fd, archive, 0n);
    const reader = new TarReader(DescriptorWindow.over(fd));
    const lines: string[] = [];
    while (reader.next()) {
      const { entry } = reader;
      const link = entry.type === 0x31
        ? entry.linked.text
        : decode(entry.target?.subarray(0, -1) ?? new Uint8Array());
      const isLink = entry.type === 0x31 || entry.type === 0x32;
      lines.push(
        `${String.fromCharCode(entry.type)} ${entry.text}${isLink ? ` -> ${link}` : ""} ` +
          `${entry.mode.toString(8)} ${entry.uid}:${entry.gid} ${entry.size} ` +
          `${entry.seconds}.${entry.nanos}`,
      );
    }
    return lines;
  } finally {
    close(fd);
  }
}

/** The message with which a tar is refused. */
function refusal(...parts: (TarEntry | Uint8Array)[]): string {
  const error = assertThrows(() => read(tar(...parts)), VeneerError);
  assertEquals(error.code, "invalid argument");
  assertEquals(error.message.includes("\n"), false);
  return error.message;
}

Deno.test("ustar: a prefix is joined to the name", () => {
  assertEquals(read(tar({ name: "name", prefix: "some/prefix", data: "x" })), [
    "0 some/prefix/name 644 0:0 1 1600000000.0",
  ]);
});

Deno.test("ustar: a name of all 100 bytes and a prefix of all 155 end without NUL", () => {
  const name = "n".repeat(100), prefix = "p".repeat(155);
  assertEquals(read(tar({ name, prefix })), [`0 ${prefix}/${name} 644 0:0 0 1600000000.0`]);
});

Deno.test("v7: a name that ends in a slash is a directory, and no prefix is read", () => {
  const junk = bytes("junk");
  assertEquals(
    read(tar(
      { name: "dir/", type: "\0", magic: "v7", patches: [[345, junk]] },
      { name: "file", type: "\0", magic: "v7" },
    )),
    ["5 dir 644 0:0 0 1600000000.0", "0 file 644 0:0 0 1600000000.0"],
  );
});

Deno.test("star: the prefix has 131 bytes, and times follow it", () => {
  const prefix = "q".repeat(131);
  const entry = {
    name: "name",
    prefix: prefix + "00000000001 ",
    patches: [[508, bytes("tar\0")] as const],
  };
  assertEquals(read(tar(entry)), [`0 ${prefix}/name 644 0:0 0 1600000000.0`]);
});

Deno.test("gnu: times are not taken for a prefix", () => {
  const times = bytes("14000000000\x0014000000000\0");
  assertEquals(read(tar({ name: "name", magic: "gnu", patches: [[345, times]] })), [
    "0 name 644 0:0 0 1600000000.0",
  ]);
});

Deno.test("TestUntarUstarGnuConflict: a prefix under GNU's magic is joined to the name", () => {
  const prefix = "root/.cpanm/work/1395823785.24209/Plack-1.0030/blib/man3";
  assertEquals(
    read(tar({ name: "Plack::Middleware::LighttpdScriptNameFix.3pm", prefix, magic: "gnu" })),
    [`0 ${prefix}/Plack::Middleware::LighttpdScriptNameFix.3pm 644 0:0 0 1600000000.0`],
  );
});

Deno.test("gnu: long names and long targets, in either order", () => {
  const long = "d/".repeat(150) + "name", target = "t/".repeat(120) + "target";
  const L = file("././@LongLink", `${long}\0`, { type: "L", magic: "gnu" });
  const K = file("././@LongLink", `${target}\0`, { type: "K", magic: "gnu" });
  const entry = symlink("short", "short", { magic: "gnu", mode: 0o777 });
  const expected = [`2 ${long} -> ${target} 777 0:0 0 1600000000.0`];
  assertEquals(read(tar(L, K, entry)), expected);
  assertEquals(read(tar(K, L, entry)), expected);
});

Deno.test("pax: path, linkpath, size, ids and times replace the header's", () => {
  const archive = tar(
    pax({
      path: "pax/päth".replace("ä", "\u00c3\u00a4"),
      size: "5",
      uid: "3000000",
      gid: "4000000000",
      mtime: "1700000000.123456789",
      comment: "=",
    }),
    record({ name: "short", size: 0 }).subarray(0, 512),
    concat([bytes("12345"), new Uint8Array(507)]),
    pax({ linkpath: "elsewhere" }),
    symlink("x", "link", { mode: 0o777 }),
  );
  assertEquals(read(archive), [
    "0 pax/päth 644 3000000:4000000000 5 1700000000.123456789",
    "2 link -> elsewhere 777 0:0 0 1600000000.0",
  ]);
});

Deno.test("pax: times before the epoch and with fewer or more digits than nanoseconds", () => {
  const times = ["-1.25", "-2", "0.5", "1.1234567891", "-0.000000001", "7."];
  const parts = times.flatMap((mtime, i) => [pax({ mtime }), file(`f${i}`)]);
  assertEquals(
    read(tar(...parts)).map((line) => line.split(" ").at(-1)),
    ["-2.750000000", "-2.0", "0.500000000", "1.123456789", "-1.999999999", "7.0"],
  );
});

Deno.test("pax: an empty value takes a record back, an unknown key is passed over", () => {
  assertEquals(
    read(tar(pax({ path: "", uid: "", "VENDOR.thing": "x" }), file("name", "", { uid: 7 }))),
    ["0 name 644 7:0 0 1600000000.0"],
  );
});

Deno.test("TestTypeXGlobalHeaderDoesNotFail: a global header has no effect on what follows", () => {
  assertEquals(
    read(tar(pax({ comment: "a commit", path: "global", mtime: "1" }, "g"), dir("d"), file("f"))),
    ["5 d 755 0:0 0 1600000000.0", "0 f 644 0:0 0 1600000000.0"],
  );
});

Deno.test("numbers: octal with blanks, base 256 of either sign, and garbage", () => {
  const cases: [string, number][] = [
    ["0000644\0", 0o644],
    ["   644 \0", 0o644],
    ["644     ", 0o644],
    ["\0\0\0\0\0\0\0\0", 0],
    ["        ", 0],
    ["77777777", 0o77777777],
    ["\x80\0\0\0\0\0\x01\x02", 258],
    ["\xff\xff\xff\xff\xff\xff\xff\xfe", -2],
    ["\x80\x1f\xff\xff\xff\xff\xff\xff", 2 ** 53 - 1],
    ["\x80\x20\x00\x00\x00\x00\x00\x00", NaN],
    ["\xbf\xff\xff\xff\xff\xff\xff\xff", NaN],
    ["0000648\0", NaN],
    ["-000644\0", NaN],
    ["12 34 \0\0", NaN],
    ["0x12\0\0\0\0", NaN],
  ];
  for (const [text, expected] of cases) {
    assertEquals(number(bytes(text), 0, 8), expected, JSON.stringify(text));
  }
});

Deno.test("a checksum of signed bytes is accepted, a wrong one refused by its offset", () => {
  const name = "n\xe9\xe8";
  const unsigned = record({ name });
  const stored = parseInt(decode(unsigned.subarray(148, 154)), 8);
  assertEquals(read(tar({ name, checksum: stored - 512 })).length, 1);
  assertStringIncludes(
    refusal(file("a"), { name, checksum: stored + 1 }),
    "at byte 512: the header's",
  );
});

Deno.test("what data no type has is not skipped: links, devices and directories claim sizes", () => {
  assertEquals(
    read(tar(
      { ...hardlink("b", "a"), size: 1000 },
      dir("d", { size: 77 }),
      file("last", "x"),
    )).map((line) => line.split(" ")[1]),
    ["a", "d", "last"],
  );
});

Deno.test("contiguous files are regular ones", () => {
  assertEquals(read(tar(file("f", "x", { type: "7" }))), ["0 f 644 0:0 1 1600000000.0"]);
});

Deno.test("sizes that lie are refused", () => {
  for (
    const size of [
      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
      "garbage",
      "\x80\x7f" + "\xff".repeat(10),
    ]
  ) {
    assertStringIncludes(refusal({ name: "liar", size }), "the size of its data is not a number");
  }
  assertStringIncludes(refusal(pax({ size: "-1" }), file("liar")), "size");
  assertStringIncludes(refusal(pax({ size: "99999999999999999999" }), file("liar")), "pax size");
  assertStringIncludes(refusal({ name: "liar", size: 0o77777777777 }), "cut short");
  assertStringIncludes(refusal({ name: "x", size: 2 ** 40, type: "x" }), "at most 1 MiB");
});

Deno.test("a pax header of 100 MiB is refused before it is read in", () => {
  const size = 100 << 20;
  const before = Deno.memoryUsage().external;
  assertStringIncludes(
    refusal(record({ name: "pax", type: "x", size })),
    `at byte 0: an extended header of ${size} bytes: at most 1 MiB is read`,
  );
  assertEquals(Deno.memoryUsage().external - before < size / 2, true);
});

Deno.test("extended headers one after another count together", () => {
  const big = pax({ comment: "x".repeat(600_000) });
  assertStringIncludes(refusal(big, big, file("f")), "at most 1 MiB");
});

Deno.test("names that no file can have are refused", () => {
  const cases: [Uint8Array | TarEntry, string][] = [
    [file(""), "its name is empty"],
    [pax({ path: "a\0b" }), "holds a NUL byte"],
    [pax({ path: "n".repeat(256) }), "longer than 255 bytes"],
    [pax({ path: "d/".repeat(2100) + "f" }), "longer than 4095 bytes"],
    [pax({ linkpath: "a\0b" }), "holds a NUL byte"],
    [pax({ "SCHILY.xattr.user.a\0b": "x" }), "holds a NUL byte"],
    [pax({ "path\0": "x" }), "the key of a pax record holds a NUL byte"],
    [pax({ "GNU.sparse.name": "..\0x" }), 'the pax GNU.sparse.name "..\\u0000x" holds a NUL byte'],
    [pax({ uname: "root\0" }), 'the pax uname "root\\u0000" holds a NUL byte'],
    [file("../up"), "leads out of the layer"],
  ];
  for (const [part, reason] of cases) {
    const parts = part instanceof Uint8Array ? [part, file("f")] : [part];
    assertStringIncludes(refusal(...parts), reason);
  }
});

Deno.test("malformed pax records are refused", () => {
  for (
    const data of ["", "x", "12 path", "9999 path=a\n", "5 =a\n", "6 a=b\n7", "-6 a=b\n", "7 a=bcd"]
  ) {
    const parts = [record({ name: "p", type: "x", data }), file("f")];
    if (data === "") assertEquals(read(tar(...parts)).length, 1);
    else assertStringIncludes(refusal(...parts), "a pax record is malformed", data);
  }
  assertStringIncludes(refusal(pax({ mtime: "soon" }), file("f")), 'mtime "soon" is not a time');
  assertStringIncludes(refusal(pax({ uid: "1e3" }), file("f")), "is not a whole number");
  for (
    const key of ["size", "uid", "gid", "mtime", "atime"].concat(
      ["size", "major", "minor", "realsize", "numblocks", "offset", "numbytes", "map"]
        .map((key) => `GNU.sparse.${key}`),
    )
  ) {
    for (const value of ["1\0", "\0", "1\n", "\x011", "1\x7f", " 1", "1\t"]) {
      assertStringIncludes(refusal(pax({ [key]: value }), file("f")), `the pax ${key} `, value);
    }
  }
  assertStringIncludes(
    refusal(pax({ uid: "4294967295" }), file("f")),
    "user id 4294967295 is invalid",
  );
});

Deno.test("a tar cut short anywhere is refused, except right after a whole zero block", () => {
  const whole = tar(pax({ mtime: "1.5" }), file("a", "x".repeat(700)), file("b", "y"));
  const marker = whole.length - 1024;
  for (let length = 1; length < whole.length; length += 37) {
    const part = whole.slice(0, length);
    if (length >= marker + 512) assertEquals(read(part).length, 2);
    else assertStringIncludes(assertThrows(() => read(part), VeneerError).message, "cut short");
  }
  for (const length of [512, 1024, 1536, marker]) {
    assertThrows(() => read(whole.slice(0, length)), VeneerError, "cut short");
  }
});

Deno.test("a lone zero block between entries is refused", () => {
  assertStringIncludes(refusal(file("a"), new Uint8Array(512), file("b")), "a lone zero block");
});

Deno.test("extended headers without an entry are refused", () => {
  assertStringIncludes(
    refusal(file("a"), pax({ path: "b" })),
    "no entry follows an extended header",
  );
  const open = concat(openEnded(pax({ path: "b" })));
  assertThrows(() => read(open), VeneerError, "cut short");
});

Deno.test("sparse maps that overlap, descend, leave the file or miscount are refused", () => {
  const sparse = (map: string, data: string, size = "4096") => [
    pax({ "GNU.sparse.size": size, "GNU.sparse.map": map, "GNU.sparse.numblocks": "2" }),
    file("s", data),
  ];
  assertEquals(read(tar(...sparse("0,1,100,2", "abc"))).length, 1);
  assertStringIncludes(refusal(...sparse("100,1,0,2", "abc")), "does not ascend");
  assertStringIncludes(refusal(...sparse("0,2,1,1", "abc")), "does not ascend");
  assertStringIncludes(refusal(...sparse("0,1,4095,2", "abc")), "leaves its file");
  assertStringIncludes(
    refusal(...sparse("0,1,100,1", "abc")),
    "a sparse map of 2 bytes stands before 3",
  );
  assertStringIncludes(refusal(...sparse("0,1,100", "abc")), "an offset without a length");
  assertStringIncludes(refusal(...sparse("0,x,100,2", "abc")), 'GNU.sparse.map holds "x"');
  assertStringIncludes(refusal(...sparse("0,1", "a", "99999999999999999")), "not a whole number");
  assertStringIncludes(
    refusal(...sparse("", "", "-2000")),
    "length of a sparse file is not a number",
  );
});

Deno.test("an old sparse file of a negative length is refused by its name", () => {
  const patches = [[483, bytes("\xff".repeat(10) + "\xf8\x30")]] as const;
  assertStringIncludes(
    refusal({ name: "sparse", type: "S", magic: "gnu", patches }),
    'entry "sparse" at byte 0: the length of a sparse file is not a number',
  );
});
