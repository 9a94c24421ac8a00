/** Unmounting a mount that is busy for a moment, or for longer. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { EBUSY } from "../../ffi/errno.ts";
import { close, O_DIRECTORY, O_PATH, open } from "../../ffi/files.ts";
import { mount, umount } from "../../ffi/mount.ts";
import { isMountPoint } from "../../lib/mount/mountinfo.ts";
import { tryUnmountUnused } from "../../lib/mount/unmount.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";

const lacking = lacksFileSystem("tmpfs");

/** Makes a mount of a directory that is removed with it. */
function mounted(path: string) {
  mount({ source: "none", target: path, type: "tmpfs", data: "size=1m" });
  return { [Symbol.dispose]: () => isMountPoint(path) && umount(path) };
}

needs(lacking, "unmount: a mount that a process only looks at is not busy", () => {
  using dir = tempDir();
  using _mount = mounted(dir.path);
  const fd = open(dir.path, O_PATH | O_DIRECTORY);
  let pauses = 0;
  assertEquals(
    tryUnmountUnused(dir.path, () => {
      if (++pauses === 3) close(fd);
    }),
    0,
  );
  assertEquals([pauses, isMountPoint(dir.path)], [3, false]);
});

needs(lacking, "unmount: a mount that stays in use is busy after some tries", () => {
  using dir = tempDir();
  using _mount = mounted(dir.path);
  const fd = open(dir.path, O_PATH | O_DIRECTORY);
  let pauses = 0;
  assertEquals(tryUnmountUnused(dir.path, () => void pauses++), -EBUSY);
  assertEquals([pauses, isMountPoint(dir.path)], [10, true]);
  close(fd);
});

needs(lacking, "unmount: a mount below a mount is not waited for", () => {
  using dir = tempDir();
  using _mount = mounted(dir.path);
  const below = join(dir.path, "below");
  Deno.mkdirSync(below);
  using _below = mounted(below);
  let pauses = 0;
  assertEquals(tryUnmountUnused(dir.path, () => void pauses++), -EBUSY);
  assertEquals(pauses, 0);
});
