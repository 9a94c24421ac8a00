import { assertEquals, assertThrows } from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import { ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { mount, MS_BIND, umount } from "../../ffi/mount.ts";
import { fstat, lstat } from "../../ffi/stat.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { tempDir } from "../support/cases.ts";
import { withDirectories } from "../support/tree_entries.ts";

const PATH = ["a", "b", "c", "d", "e"];

/** Runs `use` on a stack of limit 2 that stands in `a/b/c/d/e`. */
function withStack(use: (stack: DirectoryStack, root: string) => void): void {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/${PATH.join("/")}`, { recursive: true });
  withDirectories([dir.path], (fd) => {
    using stack = new DirectoryStack(fd, 2);
    for (const name of PATH) stack.tryEnter(entryName(name));
    use(stack, dir.path);
  });
}

Deno.test("levels that were closed are the same directories on the way up", () => {
  withStack((stack, root) => {
    for (let depth = PATH.length; depth > 0; depth--) {
      assertEquals(stack.depth, depth);
      const path = [root, ...PATH.slice(0, depth)].join("/");
      assertEquals(fstat(stack.fd).inode, lstat(path).inode);
      stack.leave();
    }
    assertEquals(fstat(stack.fd).inode, lstat(root).inode);
    assertEquals(stack.tryEnter(entryName("missing")), -ENOENT);
    Deno.symlinkSync("a", `${root}/link`);
    assertEquals(stack.tryEnter(entryName("link")), -ENOTDIR);
    assertEquals(stack.depth, 0);
  });
});

Deno.test("a directory that was moved elsewhere meanwhile is never taken for its parent's", () => {
  withStack((stack, root) => {
    Deno.mkdirSync(`${root}/elsewhere`);
    Deno.renameSync(`${root}/a/b/c`, `${root}/elsewhere/c`);
    stack.leave();
    stack.leave();
    const error = assertThrows(() => stack.leave(), VeneerError);
    assertEquals(error.code, "failed");
  });
});

Deno.test("a directory that something is mounted on is not entered", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/tree/volume`, { recursive: true });
  Deno.mkdirSync(`${dir.path}/outside`);
  mount({ source: `${dir.path}/outside`, target: `${dir.path}/tree/volume`, flags: MS_BIND });
  try {
    withDirectories([`${dir.path}/tree`], (fd) => {
      using stack = new DirectoryStack(fd);
      const error = assertThrows(() => stack.tryEnter(entryName("volume")), VeneerError);
      assertEquals(error.code, "in use");
      assertEquals(stack.depth, 0);
    });
  } finally {
    umount(`${dir.path}/tree/volume`);
  }
});
