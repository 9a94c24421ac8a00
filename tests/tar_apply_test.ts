/**
 * Applying tars: every type of entry, what replaces what, whiteouts in each form, id maps, and what GNU tar
 * made compared file by file.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  close,
  memfd,
  O_DIRECTORY,
  O_RDONLY,
  open,
  pipe,
  pwriteAll,
  withFd,
} from "../ffi/files.ts";
import { SyscallError } from "../ffi/errno.ts";
import { lstat } from "../ffi/stat.ts";
import { tryMknodat } from "../ffi/tree.ts";
import { lgetxattr, lsetxattr } from "../ffi/xattr.ts";
import { VeneerError } from "../lib/errors.ts";
import { IdMap } from "../lib/id_maps.ts";
import { applyTar, openTarInput } from "../lib/tar/apply.ts";
import { IDENTITY } from "../lib/id_maps.ts";
import { WORTH_A_WORKER } from "../lib/tar/crew.ts";
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
} from "./tar_builder.ts";
import { makeTempDir, Sandbox, tree } from "./tar_layers.ts";

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

Deno.test("apply: an empty stream, zeros and nothing but the marker are an empty layer", () => {
  for (const length of [0, 512, 1024, 10240]) {
    using sandbox = new Sandbox();
    assertEquals(sandbox.apply(new Uint8Array(length)), { size: 0, entries: 0 });
    assertEquals(sandbox.tree(), []);
  }
});

Deno.test("apply: what is no tar is refused before the layer is touched", () => {
  const text = bytes("#!/bin/sh\n".repeat(100));
  for (const junk of [text, text.slice(0, 10), new Uint8Array(511), bytes("x".repeat(512))]) {
    using sandbox = new Sandbox();
    assertStringIncludes(sandbox.refuse(junk), "is no tar");
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

// Whiteouts. What the parent has is what a first tar made; the second one is under test.

const PARENT: readonly Part[] = [
  dir("foo"),
  file("foo/old", "old"),
  dir("foo/sub"),
  file("foo/sub/old", "old"),
  file("bar", "old"),
  symlink("foo", "ln"),
];

interface WhiteoutCase {
  readonly parts: readonly Part[];
  /** On an empty upper directory. */
  readonly overlay: readonly string[];
  readonly aufs: readonly string[];
  /** On a copy of the parent. */
  readonly none: readonly string[];
}

const OPAQUE = 'trusted.overlay.opaque="y"';
const FOO = ["foo dir", 'foo/old file "old"', "foo/sub dir", 'foo/sub/old file "old"'];

const WHITEOUTS: Readonly<Record<string, WhiteoutCase>> = {
  "TestApplyLayerWhiteouts: files, links and trees": {
    parts: [file(".wh.bar"), file(".wh.foo"), file(".wh.ln")],
    overlay: ["bar char 0:0", "foo char 0:0", "ln char 0:0"],
    aufs: ['.wh.bar file ""', '.wh.foo file ""', '.wh.ln file ""'],
    none: [],
  },
  "of what is not there": {
    parts: [dir("new"), file("new/.wh.absent")],
    overlay: ["new dir", "new/absent char 0:0"],
    aufs: ["new dir", 'new/.wh.absent file ""'],
    none: ['bar file "old"', ...FOO, "ln link -> foo", "new dir"],
  },
  "inside a directory": {
    parts: [dir("foo"), file("foo/.wh.old"), file("foo/.wh.sub")],
    overlay: ["foo dir", "foo/old char 0:0", "foo/sub char 0:0"],
    aufs: ["foo dir", 'foo/.wh.old file ""', 'foo/.wh.sub file ""'],
    none: ['bar file "old"', "foo dir", "ln link -> foo"],
  },
  "a directory after its whiteout is opaque": {
    parts: [file(".wh.foo"), dir("foo"), file("foo/new", "new")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "a directory before its whiteout is opaque": {
    parts: [dir("foo"), file("foo/new", "new"), file(".wh.foo")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "a directory that is only implied after its whiteout is opaque": {
    parts: [file(".wh.foo"), file("foo/new", "new")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "a file after its whiteout": {
    parts: [file(".wh.bar"), file("bar", "new")],
    overlay: ['bar file "new"'],
    aufs: ['bar file "new"'],
    none: ['bar file "new"', ...FOO, "ln link -> foo"],
  },
  "a file before its whiteout": {
    parts: [file("bar", "new"), file(".wh.bar")],
    overlay: ['bar file "new"'],
    aufs: ['bar file "new"'],
    none: ['bar file "new"', ...FOO, "ln link -> foo"],
  },
  "a link and a hard link after their whiteouts": {
    parts: [
      file(".wh.ln"),
      file(".wh.bar"),
      symlink("x", "ln"),
      file("target", "t"),
      hardlink("target", "bar"),
    ],
    overlay: ['bar file "t"', "ln link -> x", 'target file "t"'],
    aufs: ['bar file "t"', "ln link -> x", 'target file "t"'],
    none: ['bar file "t"', ...FOO, "ln link -> x", 'target file "t"'],
  },
  "an opaque marker before what it does not hide": {
    parts: [dir("foo"), file("foo/.wh..wh..opq"), file("foo/new", "new"), dir("foo/sub")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"', "foo/sub dir"],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"', "foo/sub dir"],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "foo/sub dir", "ln link -> foo"],
  },
  "an opaque marker after what it does not hide": {
    parts: [dir("foo"), file("foo/sub/new", "new"), dir("foo/sub"), file("foo/.wh..wh..opq")],
    overlay: [`foo dir ${OPAQUE}`, "foo/sub dir", 'foo/sub/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', "foo/sub dir", 'foo/sub/new file "new"'],
    none: ['bar file "old"', "foo dir", "foo/sub dir", 'foo/sub/new file "new"', "ln link -> foo"],
  },
  "an opaque marker before its directory's entry": {
    parts: [file("foo/.wh..wh..opq"), dir("foo"), file("foo/new", "new")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "aufs's own files are skipped": {
    parts: [
      file(".wh..wh.aufs"),
      dir(".wh..wh.plnk"),
      file(".wh..wh.plnk/123.456", "x"),
      dir(".wh..wh.orph"),
      file("new", "x"),
    ],
    overlay: ['new file "x"'],
    aufs: ['new file "x"'],
    none: ['bar file "old"', ...FOO, "ln link -> foo", 'new file "x"'],
  },
  "a name that only looks like one": {
    parts: [file("wh.x", "1"), file(".whx", "2"), file("a.wh.b", "3")],
    overlay: ['.whx file "2"', 'a.wh.b file "3"', 'wh.x file "1"'],
    aufs: ['.whx file "2"', 'a.wh.b file "3"', 'wh.x file "1"'],
    none: [
      '.whx file "2"',
      'a.wh.b file "3"',
      'bar file "old"',
      ...FOO,
      "ln link -> foo",
      'wh.x file "1"',
    ],
  },
};

for (const [name, test] of Object.entries(WHITEOUTS)) {
  for (const form of ["overlay", "aufs", "none"] as const) {
    Deno.test(`whiteouts as ${form}: ${name}`, () => {
      using sandbox = new Sandbox();
      if (form === "none") sandbox.apply(tar(...PARENT));
      sandbox.apply(tar(...test.parts), { whiteouts: form });
      assertEquals(sandbox.tree({ attributes: false }), test[form]);
      sandbox.assertContained();
    });
  }
}

Deno.test("whiteouts as aufs: entries that are no files become empty ones, and none is opened", () => {
  using sandbox = new Sandbox();
  sandbox.apply(
    tar(
      dir("d"),
      { name: "d/.wh..wh..opq", type: "6" },
      file(".wh.d", "not empty"),
      symlink("/etc/passwd", ".wh.x"),
    ),
    { whiteouts: "aufs" },
  );
  assertEquals(sandbox.tree({ attributes: false }), [
    '.wh.x file ""',
    "d dir",
    'd/.wh..wh..opq file ""',
  ]);
});

Deno.test("TestOverlayUntarInvalidWhiteoutNames", () => {
  for (const whiteouts of ["overlay", "aufs", "none"] as const) {
    for (const name of [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh...", ".wh.x/y"]) {
      using sandbox = new Sandbox();
      sandbox.apply(tar(dir("d"), file("d/x", "x")));
      sandbox.refuse(tar(file(name)), { whiteouts });
      assertEquals(sandbox.tree({ attributes: false }), ["d dir", 'd/x file "x"']);
    }
  }
});

// What GNU tar makes.

/** A tree with something of everything; returns its path. */
function makeSource(): string {
  const top = makeTempDir();
  const source = `${top}/source`;
  const names = ["plain", "späce and ünicode", "n".repeat(255), "new\nline", "-dash"];
  Deno.mkdirSync(`${source}/${"deep/".repeat(60)}`, { recursive: true });
  for (const name of names) Deno.writeTextFileSync(`${source}/${name}`, name.slice(0, 40));
  const long = `${source}/${"deep/".repeat(60)}${"long".repeat(40)}`;
  Deno.writeTextFileSync(long, "long");
  Deno.symlinkSync("t".repeat(200), `${source}/long-link`);
  Deno.linkSync(long, `${source}/hard`);
  Deno.writeFileSync(`${source}/large`, Uint8Array.from({ length: 700_001 }, (_, i) => i * 7 >> 3));
  for (const [name, parts] of [["sparse", 3], ["very-sparse", 60]] as const) {
    using sparse = Deno.openSync(`${source}/${name}`, { write: true, create: true });
    for (let i = 0; i < parts; i++) {
      sparse.seekSync(i * 200_000, Deno.SeekMode.Start);
      sparse.writeSync(bytes(`part ${i}`));
    }
    sparse.truncateSync(parts * 200_000 + 5);
  }
  Deno.writeTextFileSync(`${source}/owned`, "x");
  Deno.chownSync(`${source}/owned`, 1234, 5678);
  Deno.chmodSync(`${source}/owned`, 0o4711);
  lsetxattr(`${source}/owned`, "user.comment", bytes("with = and \n in it"));
  lsetxattr(`${source}/deep`, "trusted.mark", bytes("\0\x01"));
  Deno.chmodSync(`${source}/deep`, 0o1770);
  withFd(open(source, O_RDONLY), (fd) => {
    tryMknodat(fd, "fifo", 0o010644);
    tryMknodat(fd, "null", 0o020666, 0x103n);
  });
  Deno.utimeSync(`${source}/plain`, 1.5, 1234567890.25);
  Deno.utimeSync(`${source}/deep`, 1.5, 987654321);
  return source;
}

function run(command: string, ...args: string[]): Uint8Array<ArrayBuffer> {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  return new Uint8Array(stdout);
}

for (
  const [name, args, drops] of [
    ["gnu", ["--format=gnu"], ["xattrs", "nanos"]],
    ["gnu -S", ["--format=gnu", "-S"], ["xattrs", "nanos"]],
    ["posix", ["--format=posix", "--xattrs", "--xattrs-include=*"], []],
    ["posix -S 0.0", ["--format=posix", "-S", "--sparse-version=0.0"], ["xattrs"]],
    ["posix -S 0.1", ["--format=posix", "-S", "--sparse-version=0.1"], ["xattrs"]],
    ["posix -S 1.0", ["--format=posix", "-S", "--sparse-version=1.0"], ["xattrs"]],
    ["ustar", [
      "--format=ustar",
      "--exclude=deep",
      "--exclude=long-link",
      "--exclude=n*n",
      "--exclude=hard",
    ], [
      "xattrs",
      "nanos",
    ]],
    ["v7", [
      "--format=v7",
      "--exclude=deep",
      "--exclude=long-link",
      "--exclude=n*n",
      "--exclude=hard",
      "--exclude=fifo",
      "--exclude=null",
    ], ["xattrs", "nanos"]],
  ] as const
) {
  Deno.test(`GNU tar's ${name}: the same tree comes out`, () => {
    const source = makeSource();
    try {
      const excluded = args.filter((arg) => arg.startsWith("--exclude="));
      const archive = run("tar", "-C", source, ...excluded, "-cf", "-", ...args, ".");
      for (const workers of [0, 1]) {
        using sandbox = new Sandbox();
        sandbox.apply(archive, { workers });
        const skip = excluded.map((arg) => arg.slice("--exclude=".length));
        const expected = tree(source, { times: true, links: true }).filter((line) =>
          !skip.some((s) => line.startsWith(s === "n*n" ? "nn" : s))
        );
        const simplify = (line: string) => {
          if (drops.some((d) => d === "xattrs")) {
            line = line.replace(/ (user|trusted)\.\S+=.*$/, "");
          }
          if (drops.some((d) => d === "nanos")) line = line.replace(/(\d)\.\d{9}/, "$1");
          return line;
        };
        assertEquals(
          sandbox.tree({ times: true, links: true }).map(simplify),
          expected.map(simplify),
        );
        for (const file of ["large", "sparse", "very-sparse"]) {
          assertEquals(
            Deno.readFileSync(`${sandbox.root}/${file}`),
            Deno.readFileSync(`${source}/${file}`),
          );
        }
        if (args.some((arg) => arg === "-S")) {
          const blocks = lstat(`${sandbox.root}/very-sparse`).blocks;
          assertEquals(blocks <= lstat(`${source}/very-sparse`).blocks, true, `${blocks} blocks`);
        }
      }
    } finally {
      Deno.removeSync(`${source}/..`, { recursive: true });
    }
  });
}

// Streams, and two threads.

Deno.test("apply: from a pipe, whose writer is read to its end and beyond the marker", async () => {
  using sandbox = new Sandbox();
  const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
  const archive = concat([
    tar(dir("d"), file("d/large", large), file("d/small", "x")),
    new Uint8Array(1 << 20),
  ]);
  const path = `${sandbox.top}/archive`;
  Deno.writeFileSync(path, archive);
  const fifo = `${sandbox.top}/fifo`;
  run("mkfifo", fifo);
  const writer = new Deno.Command("sh", { args: ["-c", `cat ${path} > ${fifo}`] }).spawn();
  const input = open(fifo, O_RDONLY), directory = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  const progress: number[] = [];
  applyTar(input, directory, {
    whiteouts: "none",
    idMaps: IDENTITY,
    onProgress: (bytes) => progress.push(bytes),
  });
  close(input);
  close(directory);
  assertEquals((await writer.status).success, true);
  assertEquals(Deno.readFileSync(`${sandbox.root}/d/large`), large);
  assertEquals(progress.at(-1), archive.length);
});

Deno.test("apply: from the middle of a file, whose position is where the tar starts", () => {
  using sandbox = new Sandbox();
  const path = `${sandbox.top}/archive`;
  Deno.writeFileSync(
    path,
    concat([bytes("12345"), tar(file("f", "x".repeat(200_000)), file("g", "y"))]),
  );
  using archive = Deno.openSync(path);
  archive.seekSync(5, Deno.SeekMode.Start);
  const input = open("/dev/null", O_RDONLY);
  close(input);
  const fds = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => name);
  const fd = fds.map(Number).find((n) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${n}`) === Deno.realPathSync(path);
    } catch {
      return false;
    }
  })!;
  const directory = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  applyTar(fd, directory, { whiteouts: "none", idMaps: IDENTITY });
  close(directory);
  assertEquals(sandbox.tree({ attributes: false }), ["f file <200000 bytes>", 'g file "y"']);
});

/** Enough data behind the marker that a Worker is worth its start; it is never read. */
const BALLAST = new Uint8Array(WORTH_A_WORKER);

/** Applies with a Worker that does get files, and with none, and compares. */
function assertSameWithWorker(parts: readonly Part[], form: "none" | "overlay" | "aufs" = "none") {
  // A large first file gives the Worker time to start.
  const archive = tar(file("ballast", BALLAST), dir("spread"), ...parts);
  const trees = [0, 1].map((workers) => {
    using sandbox = new Sandbox();
    const applied = sandbox.apply(archive, { workers, whiteouts: form });
    sandbox.assertContained();
    return { applied, tree: sandbox.tree({ times: true, links: true }) };
  });
  assertEquals(trees[1], trees[0]);
  return trees[1].tree;
}

/** Directories full of files, so that there is always something in flight. */
function crowd(prefix: string, directories: number, files: number): Part[] {
  return Array.from({ length: directories }, (_, i) => [
    dir(`${prefix}${i}`, { mode: 0o750 }),
    ...Array.from(
      { length: files },
      (_, j) => file(`${prefix}${i}/f${j}`, `${prefix} ${i} ${j}`, { mtime: 1e9 + j, uid: j }),
    ),
  ]).flat();
}

Deno.test("worker: many directories, the same tree as without one", () => {
  const tree = assertSameWithWorker([
    ...crowd("a", 40, 30),
    ...crowd("b", 1, 1500),
    // More directories in flight than are kept open.
    ...crowd("c", 400, 1),
  ]);
  assertEquals(tree.length, 2 + 40 * 31 + 1501 + 400 * 2);
});

Deno.test("worker: what is hard linked, replaced, whited out or removed while it is in flight", () => {
  const twists: Part[] = [];
  for (let i = 0; i < 15; i++) {
    const d = `t${i}`;
    twists.push(
      ...crowd(`t${i}-crowd`, 1, 40),
      dir(d),
      file(`${d}/first`, "1"),
      hardlink(`${d}/first`, `${d}/linked`),
      file(`${d}/twice`, "old"),
      file(`${d}/twice`, "new"),
      file(`${d}/to-link`, "old"),
      symlink("first", `${d}/to-link`),
      file(`${d}/to-link`, "not through the link"),
      file(`${d}/to-dir`, "old"),
      dir(`${d}/to-dir`),
      file(`${d}/to-dir/inside`, "x"),
      dir(`${d}/to-file`),
      file(`${d}/to-file/gone`, "x"),
      file(`${d}/to-file`, "file"),
      file(`${d}/hidden`, "kept: of this tar"),
      file(`${d}/.wh.hidden`, ""),
      file(`${d}/.wh.later`, ""),
      file(`${d}/later`, "kept: of this tar"),
      dir(`${d}/tree`),
      ...Array.from({ length: 20 }, (_, j) => file(`${d}/tree/f${j}`, "x")),
      symlink("first", `${d}/tree`),
      dir(`${d}/late`, { mode: 0o755 }),
      file(`${d}/late/a`, "x"),
      dir(`${d}/late`, { mode: 0o2700, gid: 9 }),
      file(`${d}/late/b`, "x"),
    );
  }
  for (const form of ["none", "overlay", "aufs"] as const) assertSameWithWorker(twists, form);
});

Deno.test("worker: an error in it reaches the caller as the same error", () => {
  const uids = new IdMap([{ container: 0, host: 0, size: 100 }]);
  const parts = [file("ballast", BALLAST), ...crowd("a", 100, 20)];
  parts.push(dir("last"), file("last/alien", "x", { uid: 500 }), ...crowd("b", 3, 20));
  for (const workers of [0, 1]) {
    using sandbox = new Sandbox();
    const idMaps = { uids, gids: uids };
    assertStringIncludes(
      sandbox.refuse(tar(...parts), { workers, idMaps }),
      "its user id 500 is not in the store's id map",
    );
  }
});

Deno.test("worker: a truncated file is refused like without one, and no descriptor is left open", () => {
  const archive = tar(file("ballast", BALLAST), ...crowd("a", 100, 20));
  const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = open();
  for (const workers of [0, 1]) {
    using sandbox = new Sandbox();
    const message = sandbox.refuse(archive.slice(0, archive.length - 30_000), { workers });
    assertStringIncludes(message, "cut short");
  }
  assertEquals(open(), before);
});

Deno.test("apply: a full file system names the entry and has the code of a limit", () => {
  const top = makeTempDir();
  run("mount", "-t", "tmpfs", "-o", "size=256k", "none", top);
  try {
    const directory = open(top, O_RDONLY | O_DIRECTORY);
    const input = memfd("tar");
    pwriteAll(input, tar(file("a", "x"), file("too-large", new Uint8Array(1 << 20))), 0n);
    const error = assertThrows(
      () => applyTar(input, directory, { whiteouts: "none", idMaps: IDENTITY }),
      SyscallError,
      "too-large",
    );
    assertEquals(error.code, "ENOSPC");
    close(input);
    close(directory);
  } finally {
    run("umount", top);
    Deno.removeSync(top);
  }
});

Deno.test("apply: leaves the process's umask and descriptors as they were", () => {
  const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = open(), mask = Deno.umask();
  using sandbox = new Sandbox();
  sandbox.apply(tar(...crowd("a", 100, 2)));
  assertEquals(open(), before);
  assertEquals(Deno.umask(), mask);
  const { readable, writable } = pipe();
  close(readable);
  close(writable);
});
