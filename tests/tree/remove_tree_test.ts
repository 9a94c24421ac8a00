import { assert, assertEquals, assertThrows } from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import { close, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY, open, openat } from "../../ffi/files.ts";
import { mkdirat, mknodat, S_IFCHR, S_IFIFO } from "../../ffi/names.ts";
import {
  FS_APPEND_FL,
  FS_IMMUTABLE_FL,
  inodeFlags,
  trySetInodeFlags,
} from "../../ffi/inode_flags.ts";
import { mount, umount } from "../../ffi/mount.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { removeTree, removeTreeAt } from "../../lib/tree/remove_tree.ts";
import { tempDir } from "../support/cases.ts";
import { isThere, openDescriptors } from "../support/files.ts";
import { whileWritten } from "../support/writers.ts";

Deno.test("every kind of entry is deleted, and nothing that links lead to", () => {
  using dir = tempDir();
  const outside = `${dir.path}/outside`, tree = `${dir.path}/tree`;
  Deno.mkdirSync(outside);
  Deno.writeTextFileSync(`${outside}/kept`, "kept");
  Deno.mkdirSync(`${tree}/a/b`, { recursive: true });
  Deno.linkSync(`${outside}/kept`, `${tree}/hardlink`);
  Deno.symlinkSync(outside, `${tree}/absolute`);
  Deno.symlinkSync("../../outside", `${tree}/a/relative`);
  Deno.symlinkSync("../outside/kept", `${tree}/a/b/file-link`);
  const fd = open(tree, O_RDONLY | O_DIRECTORY);
  mknodat(fd, entryName("whiteout"), S_IFCHR | 0o600, 0n);
  mknodat(fd, entryName("fifo"), S_IFIFO | 0o600);
  mkdirat(fd, entryName(Uint8Array.of(0xff, 0xfe)), 0o000);
  close(fd);
  const before = openDescriptors();

  removeTree(tree);

  assert(!isThere(tree));
  assertEquals(Deno.readTextFileSync(`${outside}/kept`), "kept");
  assertEquals(openDescriptors(), before);
});

Deno.test("a file, a link and nothing at all are deleted as well", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/target`);
  Deno.writeTextFileSync(`${dir.path}/target/kept`, "");
  Deno.writeTextFileSync(`${dir.path}/file`, "");
  Deno.symlinkSync("target", `${dir.path}/link`);
  for (const name of ["file", "link", "nothing"]) removeTree(`${dir.path}/${name}`);
  assertEquals([...Deno.readDirSync(dir.path)].map((entry) => entry.name), ["target"]);
  assert(isThere(`${dir.path}/target/kept`));
});

Deno.test("a tree much deeper than there are descriptors and path bytes", () => {
  using dir = tempDir();
  const DEPTH = 10_000;
  let fd = open(dir.path, O_RDONLY | O_DIRECTORY);
  for (let depth = 0; depth < DEPTH; depth++) {
    const name = entryName(depth === 0 ? "tree" : "d");
    mkdirat(fd, name, 0o755);
    const below = openat(fd, name, O_RDONLY | O_DIRECTORY);
    close(fd);
    fd = below;
    // What a name of the hoisted ones could collide with.
    if (depth === 0) mkdirat(fd, entryName(".veneer-hoisted-0"), 0o755);
    if (depth % 100 === 0) close(openat(fd, entryName("file"), O_WRONLY | O_CREAT, 0o600));
  }
  close(fd);
  const before = openDescriptors();
  removeTree(`${dir.path}/tree`);
  assertEquals([...Deno.readDirSync(dir.path)], []);
  assertEquals(openDescriptors(), before);
});

Deno.test("a directory of many entries", () => {
  using dir = tempDir();
  const tree = `${dir.path}/tree`;
  Deno.mkdirSync(tree);
  const fd = open(tree, O_RDONLY | O_DIRECTORY);
  for (let i = 0; i < 20_000; i++) {
    close(openat(fd, entryName(`file-${i}`.padEnd(60, "x")), O_WRONLY | O_CREAT, 0o600));
  }
  close(fd);
  removeTree(tree);
  assert(!isThere(tree));
});

Deno.test("immutable and append-only files and directories are deleted", () => {
  using dir = tempDir();
  const tree = `${dir.path}/tree`;
  Deno.mkdirSync(`${tree}/directory`, { recursive: true });
  for (const name of ["immutable", "append", "directory/inside"]) {
    Deno.writeTextFileSync(`${tree}/${name}`, "");
  }
  const protect = (path: string, flag: number) => {
    const fd = open(path, O_RDONLY);
    try {
      assertEquals(trySetInodeFlags(fd, inodeFlags(fd) | flag), 0);
    } finally {
      close(fd);
    }
  };
  protect(`${tree}/immutable`, FS_IMMUTABLE_FL);
  protect(`${tree}/append`, FS_APPEND_FL);
  protect(`${tree}/directory`, FS_APPEND_FL);
  protect(tree, FS_IMMUTABLE_FL);
  assertThrows(() => Deno.removeSync(`${tree}/immutable`));
  removeTree(tree);
  assert(!isThere(tree));
});

Deno.test("a protected subdirectory below the depth that is kept open is deleted", () => {
  using dir = tempDir();
  const deep = `${dir.path}/tree/${"d/".repeat(80)}`;
  Deno.mkdirSync(deep, { recursive: true });
  for (const path of [`${dir.path}/tree`, `${dir.path}/tree/${"d/".repeat(63)}`, deep]) {
    const fd = open(path, O_RDONLY | O_DIRECTORY);
    assertEquals(trySetInodeFlags(fd, inodeFlags(fd) | FS_IMMUTABLE_FL), 0);
    close(fd);
  }
  removeTree(`${dir.path}/tree`);
  assert(!isThere(`${dir.path}/tree`));
});

Deno.test("a mount inside is named, and what is mounted stays", () => {
  using dir = tempDir();
  const outside = `${dir.path}/outside`, inside = `${dir.path}/tree/inside`;
  Deno.mkdirSync(outside);
  Deno.writeTextFileSync(`${outside}/kept`, "");
  Deno.mkdirSync(inside, { recursive: true });
  mount({ source: outside, target: inside, flags: 4096 /* MS_BIND */ });
  try {
    const error = assertThrows(() => removeTree(`${dir.path}/tree`), VeneerError);
    assertEquals(error.code, "in use");
    assertEquals(
      error.message,
      `${dir.path}/tree is not deleted: inside in it is a mount point; unmount it first`,
    );
    assert(isThere(`${outside}/kept`));
  } finally {
    umount(inside);
  }
  removeTree(`${dir.path}/tree`);
  assert(!isThere(`${dir.path}/tree`));
});

Deno.test("a file that something is mounted on is named", () => {
  using dir = tempDir();
  const file = `${dir.path}/tree/file`;
  Deno.mkdirSync(`${dir.path}/tree`);
  Deno.writeTextFileSync(file, "");
  Deno.writeTextFileSync(`${dir.path}/other`, "kept");
  mount({ source: `${dir.path}/other`, target: file, flags: 4096 /* MS_BIND */ });
  try {
    const error = assertThrows(() => removeTree(`${dir.path}/tree`), VeneerError);
    assertEquals(error.code, "in use");
  } finally {
    umount(file);
  }
  assertEquals(Deno.readTextFileSync(`${dir.path}/other`), "kept");
});

Deno.test("only a single name is taken", () => {
  using dir = tempDir();
  const fd = open(dir.path, O_RDONLY | O_DIRECTORY);
  try {
    for (const name of ["", ".", "..", "a/b", "/"]) {
      assertThrows(() => removeTreeAt(fd, name), RangeError);
    }
  } finally {
    close(fd);
  }
});

Deno.test("a tree in which another process swaps directories and files", async () => {
  using dir = tempDir();
  const worker = new Worker(import.meta.resolve("./remove_tree_worker.ts"), { type: "module" });
  const said = () => new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  try {
    for (let i = 0; i < 40; i++) {
      const tree = `${dir.path}/${i}`;
      Deno.mkdirSync(`${tree}/directory`, { recursive: true });
      for (let j = 0; j < 20; j++) Deno.writeTextFileSync(`${tree}/directory/${j}`, "");
      Deno.writeTextFileSync(`${tree}/file`, "");
      const begun = said();
      worker.postMessage(tree);
      assertEquals(await begun, "swapping");
      const end = said();
      removeTree(tree);
      assert(!isThere(tree));
      assertEquals(await end, "gone");
    }
  } finally {
    worker.terminate();
  }
});

Deno.test("a tree in which others make directories as fast as they are deleted", async () => {
  using dir = tempDir();
  // A removal may be the faster one, on a busy machine often.
  for (let tries = 1, isContested = false; !isContested; tries++) {
    assert(tries < 100, "each time nothing kept it from being deleted");
    const tree = `${dir.path}/${tries}`, inner = `${tree}/in/ner`;
    Deno.mkdirSync(inner, { recursive: true });
    for (let i = 0; i < 200; i++) Deno.mkdirSync(`${inner}/${i}`);
    await whileWritten(inner, () => {
      const before = openDescriptors();
      try {
        removeTree(tree);
        assert(!isThere(tree));
      } catch (error) {
        assert(error instanceof VeneerError, String(error));
        assertEquals(error.code, "in use");
        const said = `${tree} is not deleted: something still writes to ner in it: deno (pid `;
        assert(error.message.startsWith(said), error.message);
        isContested = true;
      }
      assertEquals(openDescriptors(), before);
    });
    removeTree(tree);
    assert(!isThere(tree));
  }
});
