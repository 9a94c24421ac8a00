/**
 * What a message about a failing read or write names: the file, whoever opened it. A full tmpfs and
 * `/dev/full` refuse writes; `/proc/self/mem`, a regular file to `stat`, fails to be read at its start (EIO).
 */
import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { SyscallError } from "../../ffi/errno.ts";
import { memfd, O_RDONLY, O_WRONLY, open, withFd } from "../../ffi/files.ts";
import { MNT_DETACH, mount, umount } from "../../ffi/mount.ts";
import { TarOutput } from "../../lib/tar/export/output.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { names } from "../support/files.ts";

const ENOSPC = "no space left on device (ENOSPC)", EIO = "input/output error (EIO)";
const MEMORY = "/proc/self/mem";

Deno.test("errors name the file that is read into a tar, small or large", () => {
  for (const size of [100, 200_000]) {
    withFd(memfd("output"), (fd) =>
      withFd(open(MEMORY, O_RDONLY), (source) => {
        const error = assertThrows(() => new TarOutput(fd).file(source, size), SyscallError);
        assertEquals(error.message, `read /proc/${Deno.pid}/mem: ${EIO}`);
      }));
  }
});

Deno.test("errors name the output of a tar, a file or none", () => {
  withFd(open("/dev/full", O_WRONLY), (fd) => {
    const output = new TarOutput(fd);
    output.write(new Uint8Array(512));
    const error = assertThrows(() => output.flush(), SyscallError);
    assertEquals(error.message, `write /dev/full: ${ENOSPC}`);
  });
});

needs(
  lacksFileSystem("overlay"),
  "errors of apply and diff name FILE, the entry or the output",
  () => {
    using store = new TestStore();
    store.must("create", "layer");
    assertMatch(
      refusal("failed", store.run("apply", "layer", MEMORY)),
      /^pread \/proc\/\d+\/mem: input\/output error \(EIO\)$/,
    );
    store.must(
      "apply",
      "layer",
      store.tar("large.tar", { large: "x".repeat(4 << 20), small: "s" }),
    );
    const full = store.shell(`veneer diff layer >/dev/full`);
    assertMatch(full.stderr, /^veneer: (write|sendfile) \/dev\/full: no space left on device/);

    const small = store.path("small");
    Deno.mkdirSync(small);
    mount({ source: "tmpfs", target: small, type: "tmpfs", data: "size=1m" });
    try {
      for (const file of [join(small, "new.tar"), join(small, "link.tar")]) {
        if (file.endsWith("link.tar")) Deno.symlinkSync("target.tar", file);
        const message = refusal("limit exceeded", store.run("diff", "layer", "-o", file));
        assertStringIncludes(message, ` ${file}: ${ENOSPC}`);
      }
      assertEquals(names(small), ["link.tar"]);
    } finally {
      umount(small, MNT_DETACH);
    }
  },
);
