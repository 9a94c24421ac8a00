import { assert, assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { O_RDONLY, open, withFd } from "../../ffi/files.ts";
import {
  BTRFS_MAGIC,
  EXT_MAGIC,
  fileSystemName,
  fstatfs,
  statfs,
  XFS_MAGIC,
} from "../../ffi/statfs.ts";
import { must, tempDir, TEST_FS } from "../support/cases.ts";

Deno.test("statfs says what stat(1) says", () => {
  using dir = tempDir();
  for (const path of [dir.path, "/proc", "/dev", "/sys"]) {
    const fs = statfs(path);
    const unit = Number(must("stat", "-f", "-c", "%S", path));
    const words = must("stat", "-f", "-c", "%t %b %c %l %s", path).trim().split(" ");
    assertEquals(
      [fs.type.toString(16), fs.totalBytes / unit, fs.totalInodes, fs.nameMax, fs.blockSize],
      [words[0], ...words.slice(1).map(Number)],
      path,
    );
    assert(fs.availableBytes <= fs.freeBytes && fs.freeBytes <= fs.totalBytes);
    withFd(open(path, O_RDONLY), (fd) => assertEquals(fstatfs(fd).type, fs.type));
  }
});

Deno.test("the file system under test is known by its magic number", () => {
  using dir = tempDir();
  const expected: Record<string, number> = { ext4: EXT_MAGIC, xfs: XFS_MAGIC, btrfs: BTRFS_MAGIC };
  const magic = expected[TEST_FS.split("+")[0]];
  if (magic !== undefined) assertEquals(statfs(dir.path).type, magic);
});

Deno.test("types have names, unknown ones their number", () => {
  assertEquals(fileSystemName(0xef53), "extfs");
  assertEquals(fileSystemName(0x794c7630), "overlayfs");
  assertEquals(fileSystemName(0x1234), "unknown (0x1234)");
  assertEquals(statfs("/proc").name, "proc");
  assertThrows(() => statfs("/nonexistent-veneer"), SyscallError, "statfs /nonexistent-veneer");
});
