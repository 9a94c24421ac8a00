/**
 * The two walls between the names in a tar and the system calls, each with the other one taken away; and
 * what the kernel or the file system alone can refuse, as the tar's own fault.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { close, memfd, O_DIRECTORY, O_RDONLY, open, pwriteAll, withFd } from "../../ffi/files.ts";
import { EXT_MAGIC, statfs } from "../../ffi/statfs.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { targetOf, Whiteouts } from "../../lib/tar/apply/apply_whiteouts.ts";
import { KnownDirectories } from "../../lib/tar/apply/known_directories.ts";
import { applyTar } from "../../lib/tar/apply/apply.ts";
import { Attributes } from "../../lib/tar/apply/attributes.ts";
import { Entry } from "../../lib/tar/read/entry.ts";
import { LayerPath, linkTarget, PathError } from "../../lib/tar/read/layer_path.ts";
import { Placement } from "../../lib/tar/apply/placement.ts";
import { TarReader } from "../../lib/tar/read/reader.ts";
import { refused } from "../../lib/tar/apply/refused.ts";
import { tryMakeRegular } from "../../lib/tar/apply/regular_file.ts";
import { DescriptorWindow } from "../../lib/tar/read/descriptor_window.ts";
import { bytes, dir, file, pax, symlink, tar, type TarEntry } from "./support/tar_builder.ts";
import { makeTempDir, Sandbox } from "./support/tar_layers.ts";
import { needs } from "../support/cases.ts";
import { names } from "../support/files.ts";

/** Names that climb, hide or end early once C has read them, and what is said of them. */
const BAD_PATHS: readonly (readonly [string, string])[] = [
  ["", "its name is empty"],
  ["\0", "holds a NUL byte"],
  ["..\0x", "holds a NUL byte"],
  ["a/..\0x/b", "holds a NUL byte"],
  ["a\0", "holds a NUL byte"],
  [".wh...\0x", "holds a NUL byte"],
  ["..", "leads out of the layer"],
  ["/..", "leads out of the layer"],
  ["a/../..", "leads out of the layer"],
  ["./.././a", "leads out of the layer"],
  ["n".repeat(256), "longer than 255 bytes"],
  ["d/".repeat(2047) + "ef", "longer than 4095 bytes"],
];

Deno.test("names, the first wall: what is no path in a layer never becomes one", () => {
  const path = new LayerPath();
  for (const [raw, reason] of BAD_PATHS) {
    const error = assertThrows(() => path.setPath(bytes(raw), raw.length), PathError);
    assertStringIncludes(error.message, reason, JSON.stringify(raw));
  }
  for (
    const [raw, text] of [["/a//./b/", "a/b"], ["a/../b", "b"], ["...", "..."], ["./", "./"]]
      .concat([["n".repeat(255), "n".repeat(255)], [
        "d/".repeat(2047) + "e",
        "d/".repeat(2047) + "e",
      ]])
  ) {
    path.setPath(bytes(raw), raw.length);
    assertEquals(path.text, text);
  }
});

Deno.test("names, the first wall: a symbolic link says anything but nothing, NUL or too much", () => {
  for (const raw of ["", "\0", "a\0b", "t".repeat(4096)]) {
    assertThrows(() => linkTarget(bytes(raw)), PathError);
  }
  for (const raw of ["..", "/", "../../../etc", "\n", "t".repeat(4095)]) {
    assertEquals(linkTarget(bytes(raw)).length, raw.length + 1);
  }
});

/** A reader at the one entry of a tar, whose path was then changed behind the first wall's back. */
function withForged<T>(name: string, use: (reader: TarReader, root: number) => T): T {
  const top = makeTempDir();
  Deno.mkdirSync(`${top}/layer`);
  Deno.writeTextFileSync(`${top}/victim`, "victim");
  const input = memfd("tar");
  try {
    pwriteAll(input, tar(file("x".repeat(name.length), "owned")), 0n);
    const reader = new TarReader(DescriptorWindow.over(input));
    reader.next();
    reader.entry.path.set(bytes(name));
    return withFd(open(`${top}/layer`, O_RDONLY | O_DIRECTORY), (root) => use(reader, root));
  } finally {
    close(input);
    assertEquals(names(top), ["layer", "victim"]);
    assertEquals([...Deno.readDirSync(`${top}/layer`)], []);
    assertEquals(Deno.readTextFileSync(`${top}/victim`), "victim");
    Deno.removeSync(top, { recursive: true });
  }
}

/** What would be the layer's own directory, or a file beside it, if C read it. */
const FORGED = ["..\0x", "..", "../victim", ".\0xyz", "\0", "a\0b"];

const NO_PARENTS = {
  owner: { uid: 0, gid: 0 },
  parents: undefined,
  directories: new KnownDirectories(),
  drain: () => {},
};

Deno.test("names, the second wall: no call is made with a name that got past the first", () => {
  const attributes = new Attributes(IDENTITY, () => {});
  for (const name of FORGED) {
    withForged(name, (reader, root) => {
      assertThrows(() => tryMakeRegular(root, false, reader, attributes), RangeError, "not a name");
      assertThrows(
        () => attributes.finishNode(root, reader.entry, false),
        RangeError,
        "not a name",
      );
      for (const form of ["overlay", "aufs", "none"] as const) {
        const whiteouts = new Whiteouts({ ...NO_PARENTS, form });
        assertThrows(() => whiteouts.lift(root, reader.entry.name), RangeError, "not a name");
      }
    });
  }
  for (const name of [".wh...\0x", ".wh..", ".wh...", ".wh.a/b", ".wh."]) {
    withForged(name, (reader) => {
      assertThrows(() => targetOf(reader.entry), RangeError, "not a name");
    });
  }
});

Deno.test("names, the second wall: no directory is opened or made by such a path", () => {
  const fail = () => {
    throw new Error("not asked for here");
  };
  for (const climb of ["..\0x", "..", "a\0b", "."]) {
    withForged("name", (reader, root) => {
      const raw = `${"x".repeat(climb.length)}/f`;
      reader.entry.setPath(bytes(raw), raw.length);
      reader.entry.path.set(bytes(climb));
      const placement = new Placement({
        ...NO_PARENTS,
        root,
        whiteouts: { look: fail, lift: fail, replace: fail },
        implied: fail,
        release: ({ fd }) => close(fd),
      });
      try {
        const inode = Deno.statSync(`/proc/self/fd/${root}`).ino;
        try {
          // `.` and `..` end at the layer's root: the kernel sees to it.
          assertEquals(placement.parentOf(reader.entry).identity, BigInt(inode!), climb);
        } catch (error) {
          assert(error instanceof TypeError || error instanceof RangeError, String(error));
          assertStringIncludes(error.message, "NUL");
        }
      } finally {
        placement.forget();
      }
    });
  }
});

/** The bytes of a text of two-digit hexadecimal numbers. */
const hex = (text: string) => Uint8Array.fromHex(text);

Deno.test("attributes: malformed ones are the tar's fault, by name", () => {
  const cases: [string, string | Uint8Array, string][] = [
    ["security.capability", "x", "its value is malformed"],
    ["system.posix_acl_access", hex("0200000001000600ffffffff"), "its value is malformed"],
    ["user.", "x", "its value is malformed"],
    [`user.${"n".repeat(255)}`, "x", "its name is too long"],
    ["user.big", "x".repeat(65_537), "its value is longer than 64 KiB"],
    ["system.posix_acl_default", hex("02000000010006ffffffffff"), "refused"],
  ];
  for (const [key, value, reason] of cases) {
    for (const entry of [file("f", "x"), dir("f")]) {
      using sandbox = new Sandbox();
      const message = sandbox.refuse(tar(pax({ [`SCHILY.xattr.${key}`]: value }), entry));
      assertStringIncludes(message, 'entry "f" at byte 0: the extended attribute');
      if (key !== "system.posix_acl_default") assertStringIncludes(message, reason, key);
    }
  }
});

const directory = makeTempDir();
const isExt4 = statfs(directory).type === EXT_MAGIC;
Deno.removeSync(directory);

needs(
  isExt4 ? undefined : "it needs ext4",
  "sparse: a file larger than the file system takes is the tar's fault, by name",
  () => {
    const HUGE = 2 ** 52, OFFSET = 2 ** 50;
    const map = (parts: string) => ({ "GNU.sparse.size": `${HUGE}`, "GNU.sparse.map": parts });
    for (
      const parts of [
        [pax(map("")), file("s")],
        [pax(map(`${OFFSET},5`)), file("s", "01234")],
      ]
    ) {
      using sandbox = new Sandbox();
      const message = sandbox.refuse(tar(...parts));
      assertStringIncludes(message, `entry "s" at byte 0: a file of ${HUGE} bytes is more than`);
    }
  },
);

needs(
  isExt4 ? undefined : "it needs ext4",
  "attributes: those of a file that have no room in its file system are named with it",
  () => {
    using sandbox = new Sandbox();
    const error = assertThrows(
      () =>
        sandbox.apply(tar(pax({ "SCHILY.xattr.user.big": "x".repeat(60_000) }), file("f", "x"))),
      VeneerError,
    );
    assertEquals(error.code, "limit exceeded");
    assertStringIncludes(error.message, 'entry "f" at byte 0: the extended attribute "user.big"');
  },
);

Deno.test("links: where one leads to what is no name, the entry is refused by its own", () => {
  for (const target of ["t".repeat(256), `a/${"t".repeat(256)}/b`, "t".repeat(4095)]) {
    using sandbox = new Sandbox();
    const parts = [pax({ linkpath: target }), symlink("short", "l"), file("l/x", "x")];
    assertStringIncludes(sandbox.refuse(tar(...parts)), 'entry "l/x" at byte');
  }
  // The answer of the second wall, whichever way leads there.
  const entry = new Entry();
  entry.setPath(bytes("l/x"), 3);
  for (const name of ["", "..", "..\0x", "t".repeat(256)]) {
    const error = refused(assertThrows(() => entryName(name)), entry);
    assertInstanceOf(error, VeneerError);
    assertEquals(error.code, "invalid argument");
    assertStringIncludes(error.message, 'tar: entry "l/x" at byte 0: ');
  }
});

Deno.test("links: what they make of a path is refused by name where it is too long", () => {
  const deep = "d/".repeat(1400) + "e";
  const parts: (TarEntry | Uint8Array)[] = [
    pax({ path: deep }),
    dir("x"),
    pax({ path: `${deep}/l`, linkpath: "y/".repeat(1500) + "z" }),
    symlink("x", "l"),
    pax({ path: `${deep}/l/f` }),
    file("f"),
  ];
  using sandbox = new Sandbox();
  assertStringIncludes(sandbox.refuse(tar(...parts)), '"d/d/');
});

Deno.test("aufs: names that its mount cannot open get a warning, once", () => {
  const LONGEST = 242;
  using sandbox = new Sandbox();
  sandbox.apply(tar(pax({ path: "n".repeat(LONGEST) }), file("f")), { whiteouts: "aufs" });
  assertEquals(sandbox.warnings, []);
  // Of a directory that no entry announces, too.
  for (const [i, path] of ["n".repeat(LONGEST + 1), "m".repeat(255) + "/f"].entries()) {
    sandbox.apply(tar(pax({ path }), file("f"), pax({ path: `${path}2` }), file("f")), {
      whiteouts: "aufs",
    });
    assertEquals(sandbox.warnings.length, i + 1);
    assertStringIncludes(sandbox.warnings[i], "more than 242 bytes are too long for aufs");
  }
  // What no whiteout of could have a name has none to be lifted either.
  assertEquals(sandbox.tree().length, 6);
  sandbox.apply(tar(pax({ path: "n".repeat(255) }), file("f")), { whiteouts: "overlay" });
  assertEquals(sandbox.warnings.length, 2);
});

Deno.test("input: an error in reading names the file", () => {
  using sandbox = new Sandbox();
  const error = assertThrows(() =>
    withFd(
      open("/proc/self/mem", O_RDONLY),
      (input) =>
        withFd(open(sandbox.root, O_RDONLY | O_DIRECTORY), (root) => {
          // Nothing is mapped at address 0: EIO.
          applyTar(input, root, { whiteouts: "none", idMaps: IDENTITY });
        }),
    )
  );
  assertInstanceOf(error, SyscallError);
  assertEquals(error.code, "EIO");
  assertStringIncludes(error.message, "/mem: input/output error");
});
