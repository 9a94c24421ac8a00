/** libdevmapper's tasks, by what the kernel does and what dmsetup sees. */
// @runs on guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  cancelDeferredRemoval,
  createDevice,
  deviceDirectory,
  deviceInfo,
  deviceNames,
  driverVersion,
  ensureNode,
  libraryVersion,
  reloadTable,
  resumeDevice,
  sendMessage,
  status,
  suspendDevice,
  table,
  targetTypes,
  tryRemoveDevice,
  trySendMessage,
} from "../../ffi/devmapper.ts";
import { setLogSink } from "../../ffi/devmapper_log.ts";
import { EBUSY, ENXIO, SyscallError } from "../../ffi/errno.ts";
import { makedev } from "../../ffi/names.ts";
import { must, needs, tempDir } from "../support/cases.ts";
import { lacking } from "../drivers/devicemapper/support.ts";

const NAME = "veneer-test:1-a.b_c";
const linear = (device: string, start: number, length: number) => ({
  start: 0,
  length,
  type: "linear",
  parameters: `${device} ${start}`,
});

/** A loop device to make others of. */
function loopDevice() {
  const dir = tempDir();
  Deno.writeFileSync(`${dir.path}/image`, new Uint8Array(1 << 20));
  const path = must("losetup", "--find", "--show", `${dir.path}/image`).trim();
  return {
    path,
    number: Number(/\d+$/.exec(path)),
    [Symbol.dispose]() {
      tryRemoveDevice(NAME);
      must("losetup", "--detach", path);
      dir[Symbol.dispose]();
    },
  };
}

needs(lacking, "device-mapper: versions and targets are dmsetup's", () => {
  const versions = must("dmsetup", "version");
  assertEquals(libraryVersion(), /Library version:\s+(.*)/.exec(versions)?.[1]);
  assertEquals(driverVersion(), /Driver version:\s+(.*)/.exec(versions)?.[1]);
  assert(targetTypes().includes("thin-pool"));
  assertEquals(deviceDirectory(), "/dev/mapper");
});

needs(lacking, "device-mapper: a device is made, described, changed and removed", () => {
  using loop = loopDevice();
  assertEquals(deviceInfo(NAME), undefined);
  createDevice(NAME, linear(loop.path, 8, 1024));
  const info = deviceInfo(NAME)!;
  assertEquals(
    [info.live, info.suspended, info.readOnly, info.openCount, info.deferredRemove],
    [true, false, false, 0, false],
  );
  const { rdev } = Deno.statSync(`/dev/mapper/${NAME}`);
  assertEquals(BigInt(rdev!), makedev(info.major, info.minor));
  assertEquals(deviceNames(), [{ name: NAME, device: makedev(info.major, info.minor) }]);
  assertEquals(table(NAME), [linear(`7:${loop.number}`, 8, 1024)]);
  assertEquals(status(NAME).map(({ type, length }) => [type, length]), [["linear", 1024]]);

  reloadTable(NAME, linear(loop.path, 0, 2048));
  assertEquals(table(NAME)[0].length, 1024);
  suspendDevice(NAME);
  assertEquals(deviceInfo(NAME)?.suspended, true);
  resumeDevice(NAME);
  assertEquals([deviceInfo(NAME)?.suspended, table(NAME)[0].length], [false, 2048]);

  const node = `/dev/mapper/${NAME}`;
  Deno.removeSync(node);
  ensureNode(NAME, info);
  assertEquals(Deno.statSync(node).rdev, rdev);
  // One that an earlier device of this name left, with the number of another device.
  Deno.removeSync(node);
  must("mknod", node, "b", "7", String(loop.number));
  ensureNode(NAME, info);
  assertEquals(Deno.statSync(node).rdev, rdev);
  assertEquals(tryRemoveDevice(NAME), 0);
  assertEquals([tryRemoveDevice(NAME), deviceInfo(NAME), deviceNames()], [-ENXIO, undefined, []]);
  assertThrows(() => Deno.statSync(`/dev/mapper/${NAME}`), Deno.errors.NotFound);
});

needs(lacking, "device-mapper: a device goes with its last user, unless that is cancelled", () => {
  using loop = loopDevice();
  createDevice(NAME, linear(loop.path, 0, 8));
  {
    using _user = Deno.openSync(`/dev/mapper/${NAME}`);
    assertEquals(tryRemoveDevice(NAME), -EBUSY);
    assertEquals(tryRemoveDevice(NAME, true), 0);
    assertEquals([deviceInfo(NAME)?.openCount, deviceInfo(NAME)?.deferredRemove], [1, true]);
    assertEquals([cancelDeferredRemoval(NAME), deviceInfo(NAME)?.deferredRemove], [true, false]);
    assertEquals(tryRemoveDevice(NAME, true), 0);
  }
  while (deviceInfo(NAME) !== undefined) must("sleep", "0.05");
  assertEquals(cancelDeferredRemoval(NAME), false);
});

needs(
  lacking,
  "device-mapper: what fails says so in one line, the library's words included",
  () => {
    const lines: string[] = [];
    setLogSink((level, text) => level <= 3 && lines.push(text));
    try {
      const error = assertThrows(() => table("nix"), SyscallError);
      assertEquals([error.code, error.path], ["ENXIO", "nix"]);
      assertMatch(
        error.message,
        /^device-mapper table nix: .*ioctl on nix .*failed: No such device/,
      );
      assertEquals(lines.length, 1);
      assertEquals(trySendMessage("nix", "hello"), -ENXIO);
      assertThrows(() => sendMessage("nix", "hello"), SyscallError);
      for (const task of [suspendDevice, resumeDevice]) {
        assertThrows(() => task("nix"), SyscallError, "ENXIO");
      }
      const long = "x".repeat(128);
      assertThrows(() => createDevice(long, linear("/dev/null", 0, 8)), SyscallError, "EINVAL");
      // The reason depends on the kernel.
      const { message } = assertThrows(
        () => createDevice(NAME, linear("/dev/nix", 0, 8)),
        SyscallError,
      );
      assertMatch(message, /No such (device|file or directory)/);
      assertEquals(
        deviceInfo(NAME),
        undefined,
        "a device that cannot be made is not left half made",
      );
    } finally {
      setLogSink(() => {});
    }
  },
);
