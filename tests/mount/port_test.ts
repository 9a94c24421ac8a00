/** What the mount port does when the kernel calls options invalid. */
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { kernelMountPort } from "../../lib/mount/port.ts";
import { isMountPoint } from "../../lib/mount/mountinfo.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";

needs(lacksFileSystem("tmpfs"), "plain options are for a kernel that knows no others", () => {
  using dir = tempDir();
  const step = { kind: "mount", source: "x", target: dir.path, type: "tmpfs", flags: 0 } as const;
  const unknown = { ...step, data: "size=1m,no_kernel_knows_this" };
  const error = assertThrows(() => kernelMountPort.mount(unknown), SyscallError);
  assertEquals([error.code, isMountPoint(dir.path)], ["EINVAL", false]);
  kernelMountPort.mount({ ...unknown, plainData: "size=1m" });
  assertEquals(isMountPoint(dir.path), true);
  kernelMountPort.unmount(dir.path, 0);
  assertThrows(() => kernelMountPort.mount({ ...unknown, plainData: "nor_this" }), SyscallError);
});
