/**
 * Applying tars: every type of entry, what replaces what, whiteouts in each form, id maps, and what GNU tar
 * made compared file by file.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { close, memfd, pwriteAll } from "../../ffi/files.ts";
import { lstat } from "../../ffi/stat.ts";
import { lgetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IdMap } from "../../lib/base/id_maps.ts";
import { openTarInput } from "../../lib/tar/apply/apply.ts";
import {
  bytes,
  concat,
  dir,
  file,
  hardlink,
  pax,
  record,
  symlink,
  tar,
  type TarEntry,
} from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

type Part = TarEntry | Uint8Array;

Deno.test("apply: every type of entry, with owner, mode, xattrs and times to the nanosecond", () => {
  using sandbox = new Sandbox();
  const capability = bytes("\x01\0\0\x02\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
  const applied = sandbox.apply(tar(
    pax({ mtime: "1700000000.000000001", "SCHILY.xattr.user.dir": "d" }),
    dir("dir", { mode: 0o2751, uid: 1, gid: 2 }),
    pax({ mtime: "1500000000.123456789", "SCHILY.xattr.security.capability": capability }),
    file("dir/file", "content", { mode: 0o755, uid: 3, gid: 4 }),
    file("dir/setuid", "s", { mode: 0o6755, uid: 5, gid: 6 }),
    pax({ mtime: "-5.5" }),
    symlink("file", "dir/link", { uid: 7, gid: 8 }),
    hardlink("dir/file", "dir/hard"),
    { name: "dir/char", type: "3", major: 1, minor: 3, mode: 0o666 },
    { name: "dir/block", type: "4", major: 259, minor: 70000, mode: 0o660, gid: 6 },
    { name: "dir/fifo", type: "6", mode: 0o622 },
    file("dir/plain", "root's"),
  ));
  assertEquals(applied, { size: 7 + 1 + 6, entries: 9 });
  assertEquals(sandbox.tree({ times: true, links: true }), [
    'dir dir 2751 1:2 1700000000.000000001 user.dir="d"',
    "dir/block block 660 0:6 1600000000.000000000 links=1 259:70000",
    "dir/char char 666 0:0 1600000000.000000000 links=1 1:3",
    "dir/fifo fifo 622 0:0 1600000000.000000000 links=1",
    'dir/file file 755 3:4 1500000000.123456789 links=2 "content" ' +
    `security.capability=${JSON.stringify(String.fromCharCode(...capability))}`,
    'dir/hard file 755 3:4 1500000000.123456789 links=2 "content" ' +
    `security.capability=${JSON.stringify(String.fromCharCode(...capability))}`,
    "dir/link link 7:8 -6.500000000 links=1 -> file",
    'dir/plain file 644 0:0 1600000000.000000000 links=1 "root\'s"',
    'dir/setuid file 6755 5:6 1600000000.000000000 links=1 "s"',
  ]);
  sandbox.assertContained();
});

Deno.test("apply: zeros and nothing but the marker are an empty layer, no bytes are no tar", () => {
  for (const length of [512, 1024, 10240]) {
    using sandbox = new Sandbox();
    assertEquals(sandbox.apply(new Uint8Array(length)), { size: 0, entries: 0 });
    assertEquals(sandbox.tree(), []);
  }
  using sandbox = new Sandbox();
  for (const provenWhole of [false, true]) {
    assertStringIncludes(
      sandbox.refuse(new Uint8Array(), { provenWhole }),
      "the input is empty: a tar without entries has its end-of-archive marker (1024 zero bytes)",
    );
  }
});

Deno.test("apply: a tar that ends behind an entry without its marker is taken only if proven whole", () => {
  const unmarked = tar(dir("d"), file("d/f", "x")).slice(0, -1024);
  const cuts = [unmarked.length - 1, unmarked.length - 511, unmarked.length - 512, 1000];
  const large = tar(file("large", "x".repeat(300_000))).slice(0, -1024);
  const unknown = tar(file("skipped", "y".repeat(2000), { type: "V" })).slice(0, -1024);
  for (const workers of [0, 1]) {
    using refusing = new Sandbox();
    for (const whole of [unmarked, large, unknown]) {
      assertStringIncludes(
        refusing.refuse(whole, { workers }),
        "without its end-of-archive marker",
      );
      using sandbox = new Sandbox();
      sandbox.apply(whole, { workers, provenWhole: true });
      const [warning] = sandbox.warnings.slice(-1);
      assertStringIncludes(warning, "no end-of-archive marker");
    }
    // Inside an entry nothing proves anything.
    const short = [...cuts.map((end) => unmarked.slice(0, end)), large.slice(0, -1000)];
    for (const part of [...short, unknown.slice(0, -600)]) {
      using sandbox = new Sandbox();
      assertStringIncludes(sandbox.refuse(part, { workers, provenWhole: true }), "cut short");
    }
  }
});

Deno.test("apply: what is no tar is refused before the layer is touched", () => {
  const text = bytes("#!/bin/sh\n".repeat(100));
  for (const junk of [text, text.slice(0, 10), new Uint8Array(511), bytes("x".repeat(512))]) {
    using sandbox = new Sandbox();
    assertStringIncludes(sandbox.refuse(junk), "is not a tar archive");
  }
  for (const [magic, name] of [["BZh91AY", "bzip2"], ["\xfd7zXZ\0", "xz"]]) {
    const input = memfd("junk");
    pwriteAll(input, concat([bytes(magic), new Uint8Array(600)]), 0n);
    const error = assertThrows(() => openTarInput(input), VeneerError, name);
    assertEquals(error.code, "not supported");
    close(input);
  }
});

Deno.test("TestImpliedDirectoryPermissions: parents without an entry are made 0755 of mapped root", () => {
  using sandbox = new Sandbox();
  const uids = new IdMap([{ container: 0, host: 100000, size: 65536 }]);
  const gids = new IdMap([{ container: 0, host: 200000, size: 65536 }]);
  sandbox.apply(tar(file("deep/ly/nested/file", "x", { uid: 5, gid: 6 })), {
    idMaps: { uids, gids },
  });
  assertEquals(sandbox.tree(), [
    "deep dir 755 100000:200000",
    "deep/ly dir 755 100000:200000",
    "deep/ly/nested dir 755 100000:200000",
    'deep/ly/nested/file file 644 100005:200006 "x"',
  ]);
});

Deno.test("TestXGlobalNoParent: a global header makes no directory for its own name", () => {
  using sandbox = new Sandbox();
  const header = record({
    name: "pax/global/header",
    type: "g",
    data: "19 comment=a commit".slice(0, 0),
  });
  sandbox.apply(tar(header, pax({ comment: "c" }, "g"), file("f", "x")));
  assertEquals(sandbox.tree(), ['f file 644 0:0 "x"']);
});

Deno.test("TestHandleTarTypeBlockCharFifoDeviceRange: devices beyond the kernel's numbers are refused", () => {
  for (
    const [major, minor] of [[4096, 0], [0, 1 << 20], [
      "\x80\x7f\xff\xff\xff\xff\xff\xff",
      0,
    ]] as const
  ) {
    for (const type of ["3", "4"]) {
      using sandbox = new Sandbox();
      const message = sandbox.refuse(tar({ name: "dev", type, major, minor }));
      assertStringIncludes(message, 'entry "dev" at byte 0: its device number');
      assertEquals(sandbox.tree(), []);
    }
  }
  using sandbox = new Sandbox();
  sandbox.apply(tar({ name: "dev", type: "4", major: 4095, minor: 0xfffff, mode: 0o600 }));
  assertEquals(sandbox.tree(), ["dev block 600 0:0 4095:1048575"]);
});

Deno.test("apply: under an id map devices are left out with a warning, and unmapped ids refused", () => {
  using sandbox = new Sandbox();
  const map = new IdMap([{ container: 0, host: 100000, size: 1000 }]);
  const idMaps = { uids: map, gids: map };
  sandbox.apply(
    tar(
      { name: "null", type: "3", major: 1, minor: 3 },
      { name: "sda", type: "4", major: 8, minor: 0 },
      { name: "fifo", type: "6" },
      file("mine", "x", { uid: 999, gid: 1 }),
    ),
    { idMaps },
  );
  assertEquals(sandbox.tree(), [
    "fifo fifo 644 100000:100000",
    'mine file 644 100999:100001 "x"',
  ]);
  assertEquals(sandbox.warnings.length, 1);
  assertStringIncludes(sandbox.warnings[0], 'device "null"');
  assertStringIncludes(
    sandbox.refuse(tar(file("big", "x", { uid: 1000 })), { idMaps }),
    'entry "big" at byte 0: its user id 1000 is not in the store\'s id map',
  );
  assertStringIncludes(
    sandbox.refuse(tar(dir("big", { gid: 5000 })), { idMaps }),
    'entry "big" at byte 0: its group id 5000 is not in the store\'s id map',
  );
});

Deno.test("apply: an entry for the root sets the root's attributes, times last", () => {
  for (const name of ["./", "/", "."]) {
    using sandbox = new Sandbox();
    sandbox.apply(tar(
      pax({ mtime: "1400000000.5", "SCHILY.xattr.user.root": "r" }),
      dir(name, { mode: 0o1777, uid: 9, gid: 8 }),
      file("f", "x"),
    ));
    const stat = lstat(sandbox.root);
    assertEquals([stat.mode & 0o7777, stat.uid, stat.gid, stat.seconds, stat.nanos], [
      0o1777,
      9,
      8,
      1400000000,
      500000000,
    ]);
    assertEquals(lgetxattr(sandbox.root, "user.root"), bytes("r"));
  }
});

const REPLACEMENTS: readonly (readonly [string, readonly Part[], readonly string[]])[] = [
  ["a file over a file", [file("a", "1"), file("a", "2")], ['a file "2"']],
  [
    "a file over a link, which is not followed",
    [file("t", "t"), symlink("t", "a"), file("a", "2")],
    [
      'a file "2"',
      't file "t"',
    ],
  ],
  ["a file over a name of a file with two", [file("a", "1"), hardlink("a", "b"), file("a", "2")], [
    'a file "2"',
    'b file "1"',
  ]],
  ["a link over a file", [file("a", "1"), symlink("x", "a")], ["a link -> x"]],
  ["a link over a tree", [dir("a"), file("a/b", "1"), symlink("x", "a")], ["a link -> x"]],
  ["a file over a tree", [dir("a"), dir("a/b"), file("a/b/c", "1"), file("a", "2")], [
    'a file "2"',
  ]],
  ["a directory over a file", [file("a", "1"), dir("a"), file("a/b", "2")], [
    "a dir",
    'a/b file "2"',
  ]],
  ["a directory over a directory", [dir("a", { mode: 0o700 }), file("a/b", "1"), dir("a")], [
    "a dir",
    'a/b file "1"',
  ]],
  ["a directory over a link", [dir("t"), symlink("t", "a"), dir("a"), file("a/b", "1")], [
    "a dir",
    'a/b file "1"',
    "t dir",
  ]],
  ["a fifo over a file", [file("a", "1"), { name: "a", type: "6" }], ["a fifo"]],
  ["a hard link over a tree", [file("f", "1"), dir("a"), file("a/b", "2"), hardlink("f", "a")], [
    'a file "1"',
    'f file "1"',
  ]],
  ["a directory again where a file replaced it", [
    dir("a"),
    file("a/gone", "1"),
    file("a", "2"),
    dir("a"),
    file("a/new", "3"),
  ], ["a dir", 'a/new file "3"']],
];

for (const [name, parts, expected] of REPLACEMENTS) {
  Deno.test(`apply: ${name}`, () => {
    for (const whiteouts of ["none", "overlay", "aufs"] as const) {
      using sandbox = new Sandbox();
      sandbox.apply(tar(...parts), { whiteouts });
      assertEquals(sandbox.tree({ attributes: false }), expected);
      // And over what another tar had made.
      using second = new Sandbox();
      for (const part of parts) second.apply(tar(part), { whiteouts });
      assertEquals(second.tree({ attributes: false }), expected);
    }
  });
}

Deno.test("apply: a directory over a directory takes the attributes, and loses those it has no more", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar(
    pax({ "SCHILY.xattr.user.old": "1", "SCHILY.xattr.user.kept": "1" }),
    dir("a", { mode: 0o700, uid: 1 }),
    file("a/b", "1"),
  ));
  sandbox.apply(tar(pax({ "SCHILY.xattr.user.kept": "2" }), dir("a", { mode: 0o1755, gid: 2 })));
  assertEquals(sandbox.tree(), ['a dir 1755 0:2 user.kept="2"', 'a/b file 644 0:0 "1"']);
});

Deno.test("apply: setgid directories and default access lists hand nothing down", () => {
  using sandbox = new Sandbox();
  // POSIX ACL, version 2: user::rwx user:42:rwx group::r-x mask::rwx other::--- (linux/posix_acl_xattr.h).
  const word = (tag: number, permissions: number, id: number) =>
    new Uint8Array(new Uint32Array([tag | permissions << 16, id]).buffer);
  const none = 0xffffffff;
  const acl = concat([
    new Uint8Array(new Uint32Array([2]).buffer),
    word(1, 7, none),
    word(2, 7, 42),
    word(4, 5, none),
    word(16, 7, none),
    word(32, 0, none),
  ]);
  sandbox.apply(tar(
    pax({ "SCHILY.xattr.system.posix_acl_default": acl }),
    dir("acl"),
    file("acl/file", "x", { mode: 0o666 }),
    dir("acl/dir", { mode: 0o750 }),
    file("acl/implied/file", "x"),
    dir("setgid", { mode: 0o2755, gid: 77 }),
    file("setgid/file", "x"),
    dir("setgid/dir"),
    symlink("x", "setgid/link"),
    { name: "setgid/fifo", type: "6", mode: 0o2644 },
  ));
  assertEquals(lgetxattr(`${sandbox.root}/acl`, "system.posix_acl_default"), acl);
  assertEquals(
    sandbox.tree().filter((line) => !line.startsWith("acl dir") && !line.startsWith("acl/implied")),
    [
      "acl/dir dir 750 0:0",
      'acl/file file 666 0:0 "x"',
      "setgid dir 2755 0:77",
      "setgid/dir dir 755 0:0",
      "setgid/fifo fifo 2644 0:0",
      'setgid/file file 644 0:0 "x"',
      "setgid/link link 0:0 -> x",
    ],
  );
});

Deno.test("apply: overlay's own attributes are never applied, in any namespace", () => {
  for (const whiteouts of ["none", "overlay", "aufs"] as const) {
    using sandbox = new Sandbox();
    sandbox.apply(
      tar(
        pax({
          "SCHILY.xattr.trusted.overlay.opaque": "y",
          "SCHILY.xattr.trusted.overlay.redirect": "/etc",
          "SCHILY.xattr.user.overlay.opaque": "y",
          "SCHILY.xattr.user.fine": "1",
        }),
        dir("d"),
        pax({ "SCHILY.xattr.trusted.overlay.metacopy": "" }),
        file("f"),
        { name: "w", type: "3", major: 0, minor: 0 },
      ),
      { whiteouts },
    );
    assertEquals(sandbox.tree(), ['d dir 755 0:0 user.fine="1"', 'f file 644 0:0 ""']);
    assertStringIncludes(sandbox.warnings.join(), "overlay's own mark");
  }
});

Deno.test("apply: attributes that the file system does not take are left out with one warning", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar(
    pax({ "SCHILY.xattr.unknown.name": "1" }),
    file("a"),
    pax({ "SCHILY.xattr.unknown.name": "1" }),
    file("b"),
    pax({ "SCHILY.xattr.user.on-a-link": "1" }),
    symlink("x", "link"),
  ));
  assertEquals(sandbox.tree({ attributes: false }), ['a file ""', 'b file ""', "link link -> x"]);
  assertEquals(sandbox.warnings.length, 2);
});

Deno.test("apply: an unknown type is skipped with its data and a warning", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar({ name: "v", type: "V", data: "volume" }, file("f", "x")));
  assertEquals(sandbox.tree(), ['f file 644 0:0 "x"']);
  assertStringIncludes(sandbox.warnings[0], 'unknown type "V"');
});
