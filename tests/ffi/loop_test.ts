import { assert, assertEquals, assertThrows } from "@std/assert";
import { ENOENT, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  lseek,
  O_RDONLY,
  open,
  pread,
  pwriteAll,
  SEEK_END,
  tryWrite,
  withFd,
} from "../../ffi/files.ts";
import { attach, detach, loopStatus, refreshCapacity } from "../../ffi/loop.ts";
import { mount, umount } from "../../ffi/mount.ts";
import { lstat } from "../../ffi/stat.ts";
import { makedev } from "../../ffi/names.ts";
import { must, tempDir } from "../support/cases.ts";

/** A sparse file of some bytes. */
function image(path: string, size: number): string {
  using file = Deno.openSync(path, { write: true, createNew: true });
  file.truncateSync(size);
  return path;
}

Deno.test("an attached file is a device, until it is detached", () => {
  using dir = tempDir();
  const file = image(`${dir.path}/image`, 1 << 20);
  const device = attach(file);
  try {
    const data = new TextEncoder().encode("through the device");
    pwriteAll(device.fd, data, 4096n);
    must("sync", "-f", file);
    must("blockdev", "--flushbufs", device.path);
    const read = new Uint8Array(data.length);
    withFd(open(file, O_RDONLY), (fd) => pread(fd, read, read.length, 4096n));
    assertEquals(read, data);

    const stat = lstat(file), status = loopStatus(device.fd);
    assertEquals(status, {
      number: device.number,
      device: makedev(stat.devMajor, stat.devMinor),
      inode: stat.inode,
      offset: 0,
      readOnly: false,
      autoclear: false,
      directIo: false,
    });
    assertEquals(must("losetup", "--noheadings", "-O", "BACK-FILE", device.path).trim(), file);
  } finally {
    assertEquals(detach(device.fd), true);
    close(device.fd);
  }
  assertEquals(detach(device.path), false);
  withFd(open(device.path, O_RDONLY), (fd) => assertEquals(loopStatus(fd), undefined));
});

Deno.test("offset, block size, reading only, a file that grows", () => {
  using dir = tempDir();
  const file = image(`${dir.path}/image`, 1 << 20);
  const device = attach(file, { offset: 65536, blockSize: 4096, readOnly: true, autoclear: true });
  try {
    assertEquals(lseek(device.fd, 0n, SEEK_END), BigInt((1 << 20) - 65536));
    assertEquals(must("blockdev", "--getss", "--getro", device.path), "4096\n1\n");
    Deno.truncateSync(file, 2 << 20);
    refreshCapacity(device.fd);
    assertEquals(lseek(device.fd, 0n, SEEK_END), BigInt((2 << 20) - 65536));
    const status = loopStatus(device.fd);
    assert(status?.readOnly && status.autoclear && status.offset === 65536);
    assertEquals(tryWrite(device.fd, new Uint8Array(512)) < 0, true);
  } finally {
    close(device.fd);
  }
});

Deno.test("with autoclear the device lives as long as its mount", () => {
  using dir = tempDir();
  const file = image(`${dir.path}/image`, 8 << 20), point = `${dir.path}/mnt`;
  Deno.mkdirSync(point);
  must("mkfs.ext4", "-q", file);
  const device = attach(file, { autoclear: true, directIo: true });
  mount({ source: device.path, target: point, type: "ext4" });
  close(device.fd);
  withFd(open(device.path, O_RDONLY), (fd) => assertEquals(loopStatus(fd)?.autoclear, true));
  Deno.writeTextFileSync(`${point}/f`, "x");
  umount(point);
  assert(!attached(file));
});

Deno.test("a device that others use is detached when they let go", () => {
  using dir = tempDir();
  const file = image(`${dir.path}/image`, 1 << 20);
  const device = attach(file);
  const other = open(device.path, O_RDONLY);
  close(device.fd);
  assertEquals(detach(device.path), true);
  assert(attached(file, 50));
  close(other);
  assert(!attached(file));
});

Deno.test("eight processes at once get eight devices", async () => {
  using dir = tempDir();
  const script = `
    import { attach, detach } from ${JSON.stringify(new URL("../../ffi/loop.ts", import.meta.url))};
    import { close } from ${JSON.stringify(new URL("../../ffi/files.ts", import.meta.url))};
    const numbers = [];
    for (let i = 0; i < 20; i++) {
      const device = attach(Deno.args[0], { autoclear: true });
      numbers.push(device.number);
      close(device.fd);
    }
  `;
  Deno.writeTextFileSync(`${dir.path}/hammer.ts`, script);
  const results = await Promise.all(Array.from({ length: 8 }, (_, i) => {
    const file = image(`${dir.path}/image${i}`, 1 << 20);
    const args = ["run", "-A", "--no-lock", "--no-check", `${dir.path}/hammer.ts`, file];
    return new Deno.Command(Deno.execPath(), { args, stderr: "piped" }).output();
  }));
  for (const { success, stderr } of results) {
    assert(success, new TextDecoder().decode(stderr));
  }
  for (let i = 0; i < 8; i++) assert(!attached(`${dir.path}/image${i}`));
});

Deno.test("what cannot be attached says why", () => {
  using dir = tempDir();
  const none = assertThrows(() => attach(`${dir.path}/none`), SyscallError);
  assertEquals(none.errno, ENOENT);
  const error = assertThrows(() => attach(dir.path, { readOnly: true }), SyscallError);
  assertEquals(
    error.message.replace(/loop\d+/, "loopN"),
    "ioctl LOOP_CONFIGURE /dev/loopN: invalid argument (EINVAL)",
  );
  const odd = image(`${dir.path}/odd`, 1 << 20);
  assertThrows(() => attach(odd, { blockSize: 1000 }), SyscallError, "EINVAL");
});

/** Whether losetup(8) finds the file attached; a device lets go a moment after the last close. */
function attached(file: string, tries = 3000): boolean {
  for (let i = 0; i < tries; i++) {
    if (must("losetup", "-j", file) === "") return false;
    if (i > 10) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
  return true;
}
