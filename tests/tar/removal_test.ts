/**
 * What entries of a tar take away from a layer that begins as a copy of its parent, as btrfs's does: trees of
 * any depth, and files whose marks forbid it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import { close, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY, open, openat } from "../../ffi/files.ts";
import {
  FS_APPEND_FL,
  FS_IMMUTABLE_FL,
  inodeFlags,
  trySetInodeFlags,
} from "../../ffi/inode_flags.ts";
import { mkdirat } from "../../ffi/names.ts";
import { removeEntriesOf, removeTree } from "../../lib/tree/remove_tree.ts";
import { dir, file, hardlink, pax, symlink, tar, type TarEntry } from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

/** Makes `depth` directories `d`, one in the other, with a file in every hundredth. */
function makeDeep(root: string, depth: number): void {
  let fd = open(root, O_RDONLY | O_DIRECTORY);
  const name = entryName("d");
  for (let i = 0; i < depth; i++) {
    mkdirat(fd, name, 0o755);
    const below = openat(fd, name, O_RDONLY | O_DIRECTORY);
    close(fd);
    fd = below;
    if (i % 100 === 0) close(openat(fd, entryName("f"), O_WRONLY | O_CREAT, 0o600));
  }
  close(fd);
}

const DEPTH = 5000;
const DEEP: Record<string, readonly TarEntry[]> = {
  "a whiteout": [file(".wh.d", "")],
  "an opaque marker": [file(".wh..wh..opq", "")],
  "a file": [file("d", "")],
};

for (const [what, entries] of Object.entries(DEEP)) {
  Deno.test(`removal: ${what} over ${DEPTH} levels of directories`, () => {
    using sandbox = new Sandbox();
    makeDeep(sandbox.root, DEPTH);
    try {
      sandbox.apply(tar(...entries));
      assertEquals(sandbox.tree({ attributes: false }), what === "a file" ? ['d file ""'] : []);
    } finally {
      removeTree(`${sandbox.root}/d`);
    }
  });
}

Deno.test("removal: what the tar itself made far below stays, with the directories it is in", () => {
  using sandbox = new Sandbox();
  makeDeep(sandbox.root, 500);
  const deep = Array(450).fill("d").join("/");
  sandbox.apply(tar(pax({ path: `${deep}/kept` }), file("f", "1"), file(".wh.d", "")));
  const left = sandbox.tree({ attributes: false });
  assertEquals(left.length, 451);
  assertEquals(left.at(-1), `${deep}/kept file "1"`);
});

Deno.test("removal: a directory with more to keep and more to delete than one listing has", () => {
  using sandbox = new Sandbox();
  const names = Array.from({ length: 3000 }, (_, i) => `entry-${i}-${"x".repeat(40)}`);
  for (const name of names) Deno.mkdirSync(`${sandbox.root}/${name}`);
  for (const name of names.slice(0, 20)) makeDeep(`${sandbox.root}/${name}`, 100);
  const fd = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  const isKept = (name: string) => Number(name.split("-")[1]) % 3 === 1;
  removeEntriesOf(fd, { keep: (_, name) => isKept(new TextDecoder().decode(name)) });
  close(fd);
  assertEquals(
    [...Deno.readDirSync(sandbox.root)].map(({ name }) => name).sort(),
    names.filter(isKept).sort(),
  );
});

/** Marks a file or directory of the layer. */
function protect(path: string, flag: number): void {
  const fd = open(path, O_RDONLY);
  try {
    assertEquals(trySetInodeFlags(fd, inodeFlags(fd) | flag), 0);
  } finally {
    close(fd);
  }
}

const PROTECTED: Record<string, readonly [entries: readonly TarEntry[], tree: readonly string[]]> =
  {
    "whiteouts": [[file(".wh.dir", ""), file(".wh.log", ""), file(".wh.file", "")], []],
    "an opaque marker": [[file(".wh..wh..opq", "")], []],
    "other types in their place": [
      [file("dir", "1"), dir("log"), symlink("x", "file")],
      ['dir file "1"', "file link -> x", "log dir"],
    ],
    "new entries in a directory": [
      [file("dir/a", "1"), dir("dir/b"), symlink("x", "dir/c"), hardlink("file", "dir/d")],
      [
        "dir dir",
        'dir/a file "1"',
        "dir/b dir",
        "dir/c link -> x",
        'dir/d file "immutable"',
        'dir/f file "inside"',
        'file file "immutable"',
        'log file "append"',
      ],
    ],
    "an implied directory": [[file("dir/a/b", "1"), file(".wh.file", ""), file(".wh.log", "")], [
      "dir dir",
      "dir/a dir",
      'dir/a/b file "1"',
      'dir/f file "inside"',
    ]],
    "the directory's own entry": [[
      dir("dir", { mode: 0o700 }),
      file("dir/f", "2"),
      file("log", "3"),
    ], ["dir dir", 'dir/f file "2"', 'file file "immutable"', 'log file "3"']],
  };

for (const [what, [entries, tree]] of Object.entries(PROTECTED)) {
  for (const directoryFlag of [FS_IMMUTABLE_FL, FS_APPEND_FL]) {
    Deno.test(`removal: immutable and append-only files give way to ${what} (${directoryFlag})`, () => {
      using sandbox = new Sandbox();
      Deno.mkdirSync(`${sandbox.root}/dir`);
      Deno.writeTextFileSync(`${sandbox.root}/dir/f`, "inside");
      Deno.writeTextFileSync(`${sandbox.root}/file`, "immutable");
      Deno.writeTextFileSync(`${sandbox.root}/log`, "append");
      try {
        protect(`${sandbox.root}/dir/f`, FS_IMMUTABLE_FL);
        protect(`${sandbox.root}/file`, FS_IMMUTABLE_FL);
        protect(`${sandbox.root}/log`, FS_APPEND_FL);
        protect(`${sandbox.root}/dir`, directoryFlag);
        sandbox.apply(tar(...entries));
        assertEquals(sandbox.tree({ attributes: false }), [...tree]);
      } finally {
        removeTree(sandbox.root);
      }
    });
  }
}
