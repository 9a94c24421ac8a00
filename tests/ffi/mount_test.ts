import { assertEquals, assertThrows } from "@std/assert";
import { EBUSY, EINVAL, ENODEV, ENOENT, ENOTDIR, SyscallError } from "../../ffi/errno.ts";
import {
  MNT_DETACH,
  mount,
  MOUNT_DATA_MAX,
  MS_BIND,
  MS_NODEV,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  tryMount,
  tryUmount,
  umount,
  UMOUNT_NOFOLLOW,
} from "../../ffi/mount.ts";
import { statfs, TMPFS_MAGIC } from "../../ffi/statfs.ts";
import { mountPoints, must, tempDir } from "../support/cases.ts";

Deno.test("tmpfs is mounted with flags and options, and taken down", () => {
  using dir = tempDir();
  const before = statfs(dir.path).type;
  const flags = MS_NOSUID | MS_NODEV;
  mount({ source: "veneer", target: dir.path, type: "tmpfs", flags, data: "size=1m,mode=0700" });
  assertEquals(statfs(dir.path).type, TMPFS_MAGIC);
  assertEquals(statfs(dir.path).totalBytes, 1 << 20);
  const [source, type, options] = must(
    "findmnt",
    "-n",
    "-r",
    "-o",
    "SOURCE,FSTYPE,OPTIONS",
    dir.path,
  )
    .trim().split(" ");
  assertEquals([source, type], ["veneer", "tmpfs"]);
  for (const option of ["nosuid", "nodev", "size=1024k", "mode=700"]) {
    assertEquals(options.split(",").includes(option), true, option);
  }
  umount(dir.path);
  assertEquals(statfs(dir.path).type, before);
});

Deno.test("bind mounts, remounted for reading only, private", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/a`);
  Deno.mkdirSync(`${dir.path}/b`);
  Deno.writeTextFileSync(`${dir.path}/a/f`, "x");
  mount({ source: `${dir.path}/a`, target: `${dir.path}/b`, flags: MS_BIND | MS_REC });
  mount({ target: `${dir.path}/b`, flags: MS_PRIVATE });
  mount({ target: `${dir.path}/b`, flags: MS_REMOUNT | MS_BIND | MS_RDONLY });
  assertEquals(Deno.readTextFileSync(`${dir.path}/b/f`), "x");
  assertThrows(() => Deno.writeTextFileSync(`${dir.path}/b/f`, "y"));
  Deno.writeTextFileSync(`${dir.path}/a/f`, "y");
  assertEquals(must("findmnt", "-n", "-o", "PROPAGATION", `${dir.path}/b`).trim(), "private");
  umount(`${dir.path}/b`, UMOUNT_NOFOLLOW);
});

Deno.test("a busy mount refuses, and goes when detached", () => {
  using dir = tempDir();
  mount({ source: "t", target: dir.path, type: "tmpfs" });
  using _open = Deno.openSync(dir.path);
  assertEquals(tryUmount(dir.path), -EBUSY);
  umount(dir.path, MNT_DETACH);
  assertEquals(mountPoints(dir.path), []);
});

Deno.test("each failure is named", () => {
  using dir = tempDir();
  Deno.writeTextFileSync(`${dir.path}/f`, "");
  Deno.symlinkSync(dir.path, `${dir.path}/link`);
  const target = dir.path;
  assertEquals(tryMount({ source: "x", target, type: "nosuchfs" }), -ENODEV);
  assertEquals(tryMount({ source: "x", target: `${target}/none`, type: "tmpfs" }), -ENOENT);
  assertEquals(tryMount({ source: "x", target: `${target}/f`, type: "tmpfs" }), -ENOTDIR);
  assertEquals(tryMount({ source: "x", target, type: "tmpfs", data: "size=bad" }), -EINVAL);
  assertEquals(tryUmount(target), -EINVAL);
  const error = assertThrows(() => umount(`${target}/none`), SyscallError);
  assertEquals(error.message, `umount2 ${target}/none: no such file or directory (ENOENT)`);
});

Deno.test("options that the kernel would cut off are refused", () => {
  using dir = tempDir();
  const data = (length: number) => "mode=0700,".repeat(length).slice(-length);
  // The last option of the longest string arrives: it is a bad one.
  const bad = ",nosuch=1";
  const longest = data(MOUNT_DATA_MAX - bad.length) + bad;
  assertEquals(longest.length, MOUNT_DATA_MAX);
  assertEquals(tryMount({ source: "t", target: dir.path, type: "tmpfs", data: longest }), -EINVAL);
  const error = assertThrows(
    () => tryMount({ source: "t", target: dir.path, type: "tmpfs", data: data(4096) }),
    RangeError,
  );
  assertEquals(error.message, "mount options of 4096 bytes: mount(2) takes 4095");
});

Deno.test("a thread's own mount namespace leaves the process's alone", async () => {
  using dir = tempDir();
  const worker = new Worker(new URL("./mount_worker.ts", import.meta.url), { type: "module" });
  const seen = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(dir.path);
  });
  assertEquals(seen, { type: TMPFS_MAGIC, relative: TMPFS_MAGIC });
  assertEquals(mountPoints(dir.path), []);
  worker.terminate();
});
