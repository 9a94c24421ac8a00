import { assertEquals } from "@std/assert";
import { EAGAIN } from "../../ffi/errno.ts";
import { O_CREAT, O_RDWR, open, withFd } from "../../ffi/files.ts";
import { LOCK_EX, LOCK_NB, LOCK_SH, tryFlock, tryLock } from "../../ffi/flock.ts";
import { run, tempDir } from "../support/cases.ts";

Deno.test("shared locks go together, an exclusive one alone", () => {
  using dir = tempDir();
  const path = `${dir.path}/lock`;
  withFd(open(path, O_RDWR | O_CREAT, 0o600), (a) => {
    withFd(open(path, O_RDWR), (b) => {
      assertEquals([tryLock(a, "shared"), tryLock(b, "shared")], [true, true]);
      assertEquals(tryLock(a, "exclusive"), false);
    });
    assertEquals(tryLock(a, "exclusive"), true);
    withFd(open(path, O_RDWR), (b) => {
      assertEquals(tryLock(b, "shared"), false);
      assertEquals(tryFlock(b, LOCK_SH | LOCK_NB), -EAGAIN);
      assertEquals(tryLock(a, "shared"), true);
      assertEquals(tryFlock(b, LOCK_EX | LOCK_NB), -EAGAIN);
      assertEquals(tryFlock(b, LOCK_SH | LOCK_NB), 0);
    });
  });
});

Deno.test("another process sees the lock, and it goes with the descriptor", () => {
  using dir = tempDir();
  const path = `${dir.path}/lock`;
  withFd(open(path, O_RDWR | O_CREAT, 0o600), (fd) => {
    assertEquals(tryLock(fd, "exclusive"), true);
    assertEquals(run("flock", "--nonblock", path, "true").code, 1);
  });
  assertEquals(run("flock", "--nonblock", path, "true").code, 0);
});

Deno.test("a killed process holds no lock", async () => {
  using dir = tempDir();
  const path = `${dir.path}/lock`;
  const holder = new Deno.Command("bash", {
    args: ["-c", 'exec 9>"$0"; flock 9; echo held; read', path],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = holder.stdout.getReader();
  await reader.read();
  const fd = open(path, O_RDWR);
  try {
    assertEquals(tryLock(fd, "shared"), false);
    holder.kill("SIGKILL");
    await holder.status;
    assertEquals(tryLock(fd, "exclusive"), true);
  } finally {
    withFd(fd, () => {});
    await reader.cancel();
    await holder.stdin.close().catch(() => {});
  }
});
