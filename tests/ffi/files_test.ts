import { assertEquals, assertThrows } from "@std/assert";
import {
  close,
  ftruncate,
  lseek,
  memfd,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  open,
  openat2,
  pipe,
  pread,
  pwriteAll,
  read,
  readFile,
  readToEnd,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_INSIDE,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
  tryLseek,
  tryOpen,
  tryOpenat2,
  tryRead,
  trySetPipeSize,
  tryWrite,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { trySendfile, trySendfileAt, trySplice } from "../../ffi/sendfile.ts";
import {
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENOENT,
  ENOTDIR,
  ENXIO,
  EXDEV,
  SyscallError,
} from "../../ffi/errno.ts";
import { tempDir } from "../support/cases.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

Deno.test("what is written is read back, by position and by offset", () => {
  using dir = tempDir();
  withFd(open(`${dir.path}/f`, O_RDWR | O_CREAT | O_EXCL, 0o640), (fd) => {
    writeAll(fd, bytes("hello world"));
    assertEquals(lseek(fd, 6n, SEEK_SET), 6n);
    const buffer = new Uint8Array(16);
    assertEquals(read(fd, buffer), 5);
    assertEquals(text(buffer.subarray(0, 5)), "world");
    assertEquals(read(fd, buffer), 0);
    pwriteAll(fd, bytes("J"), 0n);
    assertEquals(pread(fd, buffer, 5, 0n), 5);
    assertEquals(text(buffer.subarray(0, 5)), "Jello");
  });
  assertEquals(text(readFile(`${dir.path}/f`)), "Jello world");
});

Deno.test("a file larger than any first buffer is read whole", () => {
  using dir = tempDir();
  const data = new Uint8Array(300_001).map((_, i) => i % 251);
  withFd(open(`${dir.path}/f`, O_WRONLY | O_CREAT, 0o600), (fd) => writeAll(fd, data));
  assertEquals(readFile(`${dir.path}/f`), data);
});

Deno.test("offsets beyond 4 GiB and holes", () => {
  using dir = tempDir();
  withFd(open(`${dir.path}/sparse`, O_RDWR | O_CREAT, 0o600), (fd) => {
    const far = 5n << 30n;
    pwriteAll(fd, bytes("end"), far);
    assertEquals(lseek(fd, 0n, SEEK_END), far + 3n);
    assertEquals(lseek(fd, 0n, SEEK_DATA), far);
    assertEquals(lseek(fd, 0n, SEEK_HOLE), 0n);
    assertEquals(tryLseek(fd, far + 3n, SEEK_DATA), BigInt(-ENXIO));
    ftruncate(fd, 6n << 30n);
    assertEquals(lseek(fd, 0n, SEEK_END), 6n << 30n);
  });
});

Deno.test("a length beyond the buffer is refused before the kernel sees it", () => {
  withFd(memfd("range"), (fd) => {
    const buffer = new Uint8Array(8);
    assertThrows(() => tryRead(fd, buffer, 9), RangeError);
    assertThrows(() => tryWrite(fd, buffer, 9), RangeError);
    assertThrows(() => pread(fd, buffer, -1, 0n), RangeError);
  });
});

Deno.test("openat2 keeps resolution inside the root it is given", () => {
  using dir = tempDir();
  Deno.writeTextFileSync(`${dir.path}/secret`, "outside");
  Deno.mkdirSync(`${dir.path}/root/etc`, { recursive: true });
  Deno.writeTextFileSync(`${dir.path}/root/secret`, "inside");
  Deno.symlinkSync("/secret", `${dir.path}/root/absolute`);
  Deno.symlinkSync("../../../secret", `${dir.path}/root/etc/up`);
  withFd(open(`${dir.path}/root`, O_RDONLY | O_DIRECTORY), (root) => {
    for (const path of ["absolute", "etc/up", "../secret", "/secret", "etc/../../secret"]) {
      const fd = openat2(root, path, O_RDONLY, RESOLVE_IN_ROOT);
      assertEquals(text(withFd(fd, readToEnd)), "inside", path);
    }
    assertEquals(tryOpenat2(root, "../secret", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    assertEquals(tryOpenat2(root, "absolute", O_RDONLY, RESOLVE_INSIDE), -ELOOP);
    assertThrows(
      () => openat2(root, "none", O_RDONLY, RESOLVE_IN_ROOT),
      SyscallError,
      "openat2 none",
    );
  });
});

Deno.test("data moves between files and pipes inside the kernel", () => {
  using dir = tempDir();
  const data = crypto.getRandomValues(new Uint8Array(50_000));
  Deno.writeFileSync(`${dir.path}/from`, data);
  withFd(open(`${dir.path}/from`, O_RDONLY), (from) => {
    withFd(open(`${dir.path}/to`, O_RDWR | O_CREAT, 0o600), (to) => {
      assertEquals(trySendfileAt(to, from, 0, 20_000), 20_000);
      lseek(from, 20_000n, SEEK_SET);
      assertEquals(trySendfile(to, from, 100_000), 30_000);
      assertEquals(trySendfile(to, from, 1), 0);
    });
    assertEquals(readFile(`${dir.path}/to`), data);
    const ends = pipe();
    assertEquals(trySetPipeSize(ends.writable, 1 << 20), 1 << 20);
    lseek(from, 0n, SEEK_SET);
    assertEquals(trySplice(from, ends.writable, 50_000), 50_000);
    close(ends.writable);
    assertEquals(withFd(ends.readable, readToEnd), data);
  });
});

Deno.test("a nameless temporary file", () => {
  using dir = tempDir();
  withFd(open(dir.path, O_RDWR | O_TMPFILE, 0o600), (fd) => {
    writeAll(fd, bytes("x"));
    assertEquals([...Deno.readDirSync(dir.path)], []);
  });
});

Deno.test("descriptors are close-on-exec", () => {
  withFd(open("/dev/null", O_RDONLY), (fd) => {
    const args = ["-c", `test -e /proc/self/fd/${fd}`];
    assertEquals(new Deno.Command("sh", { args }).outputSync().success, false);
  });
});

Deno.test("each failing call gives its own error number", () => {
  using dir = tempDir();
  Deno.writeTextFileSync(`${dir.path}/f`, "");
  assertEquals(tryOpen(`${dir.path}/none`, O_RDONLY), -ENOENT);
  assertEquals(tryOpen(`${dir.path}/f/x`, O_RDONLY), -ENOTDIR);
  assertEquals(tryOpen(`${dir.path}/f`, O_WRONLY | O_CREAT | O_EXCL), -EEXIST);
  assertEquals(tryOpen(dir.path, O_WRONLY), -EISDIR);
  assertEquals(tryRead(-1, new Uint8Array(1)), -EBADF);
  withFd(memfd("x"), (fd) => assertEquals(tryLseek(fd, 0n, 99), BigInt(-EINVAL)));
  const error = assertThrows(() => open(`${dir.path}/none`, O_RDONLY), SyscallError);
  assertEquals(error.message, `open ${dir.path}/none: no such file or directory (ENOENT)`);
  assertEquals([error.code, error.errno, error.syscall], ["ENOENT", ENOENT, "open"]);
});

Deno.test("error numbers stay right in two threads at once, while memory is collected", async () => {
  const worker = new Worker(new URL("./errno_worker.ts", import.meta.url), { type: "module" });
  const theirs = new Promise<number>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  const { hammer } = await import("./errno_worker.ts");
  const ours = hammer();
  assertEquals([ours, await theirs], [0, 0]);
  worker.terminate();
});

Deno.test("openat2: a path with '..' is opened while another process renames without end", async () => {
  const top = Deno.makeTempDirSync();
  Deno.mkdirSync(`${top}/d/e`, { recursive: true });
  const renames = `
    Deno.mkdirSync("${top}/a");
    console.log("begins");
    for (;;) {
      Deno.renameSync("${top}/a", "${top}/b");
      Deno.renameSync("${top}/b", "${top}/a");
    }`;
  const child = new Deno.Command(Deno.execPath(), { args: ["eval", renames], stdout: "piped" })
    .spawn();
  const root = open(top, O_RDONLY | O_DIRECTORY);
  try {
    const output = child.stdout.getReader();
    await output.read();
    await output.cancel();
    const path = "d/e/../../".repeat(20);
    for (let i = 0; i < 20_000; i++) {
      const fd = tryOpenat2(root, path, O_RDONLY | O_DIRECTORY, RESOLVE_IN_ROOT);
      assertEquals(fd >= 0 ? "opened" : `errno ${-fd}`, "opened");
      close(fd);
    }
  } finally {
    close(root);
    child.kill("SIGKILL");
    await child.status;
    Deno.removeSync(top, { recursive: true });
  }
});
