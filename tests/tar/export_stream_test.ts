/**
 * Exports of trees that change meanwhile, to outputs that fail, and of trees that are deep.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { decode } from "../../ffi/cstring.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { SyscallError } from "../../ffi/errno.ts";
import {
  close,
  ftruncate,
  lseek,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  open,
  openat,
  pipe,
  SEEK_SET,
  withFd,
} from "../../ffi/files.ts";
import { mkdirat, symlinkat } from "../../ffi/names.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { exportTree } from "../../lib/tar/export/export.ts";
import { must, tempDir } from "../support/cases.ts";
import { DEFAULTS, everything, exportTo, tarOf, treeTar } from "./support/exports.ts";
import { put, withDirectories } from "../support/tree_entries.ts";
import { openDescriptors } from "../support/files.ts";

Deno.test("a file that shrinks is filled up, one that grows is cut, one that goes is left out", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(root);
  for (const name of ["1 shrinks", "2 grows"]) put(`${root}/${name}`, "x".repeat(20 << 20));
  put(`${root}/3 goes`);
  const warnings: string[] = [];
  const tar = treeTar(root, "none", {
    warn: (message) => warnings.push(message),
    onProgress(written) {
      if (written > 10 << 20) Deno.truncateSync(`${root}/1 shrinks`, 1 << 20);
      if (written < 25 << 20) return;
      Deno.writeTextFileSync(`${root}/2 grows`, "more", { append: true });
      must("rm", "-f", `${root}/3 goes`);
    },
  });
  assertEquals(warnings, [
    "/1 shrinks became shorter while it was read: filled up with zeros",
    "/3 goes was removed or replaced while it was read: left out",
  ]);
  // Each file has a pax header of two blocks, for its time, and its own.
  assertEquals(tar.length, 2 * (3 * 512 + (20 << 20)) + 1024);
  assertEquals(tar.subarray(3 * 512 + (20 << 20) - 3, 3 * 512 + (20 << 20)), new Uint8Array(3));
  assertEquals(decode(tar.subarray(-1026, -1024)), "xx");
});

Deno.test("progress ends at what was written", () => {
  using dir = tempDir();
  everything(`${dir.path}/from`);
  let last = 0, calls = 0;
  const tar = treeTar(`${dir.path}/from`, "none", {
    onProgress(written) {
      assert(written > last);
      last = written;
      calls++;
    },
  });
  assertEquals(last, tar.length);
  assert(calls > 2);
});

Deno.test("an output that takes no more is one clear error", () => {
  using dir = tempDir();
  put(`${dir.path}/file`, "x".repeat(1 << 20));
  const { readable, writable } = pipe();
  close(readable);
  const error = assertThrows(
    () => withDirectories([dir.path], (fd) => exportTree(fd, writable, "none", DEFAULTS)),
    SyscallError,
  );
  close(writable);
  assertEquals(error.code, "EPIPE");
  const full = open("/dev/full", O_WRONLY);
  assertEquals(
    assertThrows(
      () => withDirectories([dir.path], (fd) => exportTree(fd, full, "none", DEFAULTS)),
      SyscallError,
    ).code,
    "ENOSPC",
  );
  close(full);
});

Deno.test("a tree 2000 directories deep is written with few descriptors and read back by GNU tar", () => {
  using dir = tempDir();
  const root = `${dir.path}/root`, tar = `${dir.path}/tar`;
  Deno.mkdirSync(root);
  let fd = open(root, O_RDONLY | O_DIRECTORY);
  for (let i = 0; i < 2000; i++) {
    mkdirat(fd, entryName("d"), 0o755);
    const below = openat(fd, entryName("d"), O_RDONLY | O_DIRECTORY);
    symlinkat("nowhere", fd, entryName("z"));
    close(fd);
    fd = below;
  }
  close(fd);
  let most = 0;
  const onProgress = () => {
    most = Math.max(most, openDescriptors());
  };
  exportTo(tar, root, "none", { onProgress });
  assert(most > 0 && most < 120, `${most} descriptors`);
  const list = must("tar", "-tf", tar).trimEnd().split("\n");
  assertEquals(list.length, 4000);
  assertEquals(list[1999], "d/".repeat(2000));
  assertEquals(list[2000], "d/".repeat(1999) + "z");
  must("rm", "-rf", root);
});

Deno.test("the walk begins at the directory's start, wherever its descriptor stands", () => {
  using dir = tempDir();
  put(`${dir.path}/file`);
  withDirectories([dir.path], (fd) => {
    const first = tarOf((out) => exportTree(fd, out, "none", DEFAULTS));
    lseek(fd, 0x7fff_ffffn, SEEK_SET);
    assertEquals(tarOf((out) => exportTree(fd, out, "none", DEFAULTS)), first);
  });
});

Deno.test("export: a file of large holes is warned of, as the tar holds them as zeros", () => {
  using dir = tempDir();
  for (const [name, size] of [["small", (1 << 30) - 1], ["vast", 1 << 30]] as const) {
    withFd(
      open(`${dir.path}/${name}`, O_RDWR | O_CREAT, 0o600),
      (fd) => ftruncate(fd, BigInt(size)),
    );
  }
  for (const workers of [0, 1]) {
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    withDirectories(
      [dir.path],
      (fd) =>
        withFd(
          open("/dev/null", O_RDWR),
          (out) => exportTree(fd, out, "none", { idMaps: IDENTITY, warn, workers }),
        ),
    );
    assertEquals(warnings, ["/vast has 1 GiB of holes, which the tar holds as zeros"]);
  }
});
