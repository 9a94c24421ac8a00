/** What cases about devicemapper share: stores of a small size, and what lacks here. */
import { assertEquals } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import { DeviceSet } from "../../../drivers/devicemapper/device_set.ts";
import { parseDriverOptions } from "../../../drivers/devicemapper/options.ts";
import { PATIENCE, retryBusy } from "../../../drivers/devicemapper/patience.ts";
import { checkSupport, decideDeferral } from "../../../drivers/devicemapper/support.ts";
import { EBUSY } from "../../../ffi/errno.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { Home } from "../../../lib/store/home.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import { parseOptions } from "../../../lib/base/options.ts";
import { RunState } from "../../../lib/store/run_state.ts";
import { must, run, TEST_FS } from "../../support/cases.ts";

/** Why device-mapper cannot be used here, if it cannot. */
export const lacking: string | undefined = Deno.uid() !== 0
  ? "it needs root"
  : checkSupport()?.message;

/** Layers' file systems are as the one under test is, so that each runs once. */
export const FILE_SYSTEM = TEST_FS.startsWith("xfs") ? "xfs" : "ext4";

/** Small, for guests whose disks are memory: mkfs.xfs makes what is below 300M for tests alone. */
export const SMALL: readonly string[] = [
  `dm.fs=${FILE_SYSTEM}`,
  ...(FILE_SYSTEM === "xfs" ? ["dm.mkfsarg=--unsupported"] : []),
  "dm.basesize=64M",
  "dm.loopdatasize=1G",
  "dm.loopmetadatasize=8M",
  "dm.min_free_space=1%",
];

/** Opens a store; options after {@linkcode SMALL} win. */
export function openStore(
  root: string,
  { options = [], idMaps = IDENTITY, warn = (message) => console.error(message) }: {
    options?: readonly string[];
    idMaps?: IdMaps;
    warn?: (message: string) => void;
  } = {},
): GraphDriver {
  return openDriver({
    root,
    driver: "devicemapper",
    options: [...SMALL, ...options],
    idMaps,
    warn,
  });
}

/** Opens the devices of a store, without the graph above them. */
export function openSet(
  root: string,
  { options = [], warn = (message) => console.error(message), patience, daemon }: {
    options?: readonly string[];
    warn?: (message: string) => void;
    patience?: number;
    daemon?: () => string | undefined;
  } = {},
): DeviceSet {
  const home = Home.open(root, "devicemapper", IDENTITY);
  for (const name of ["devicemapper", "metadata", "mnt"]) {
    Deno.mkdirSync(home.join(name).text, { recursive: true });
  }
  const parsed = decideDeferral(parseDriverOptions(parseOptions([...SMALL, ...options])));
  return new DeviceSet({
    home,
    state: new RunState(home),
    options: parsed,
    warn,
    patience,
    daemon,
  });
}

/** The files that loop devices are attached to. */
export function loopFiles(below: string): string[] {
  return run("losetup", "--noheadings", "--output", "BACK-FILE").stdout.split("\n")
    .map((line) => line.trim()).filter((file) => file.startsWith(below));
}

/** The names of the device-mapper devices there are. */
export function deviceNames(): string[] {
  const text = run("dmsetup", "ls").stdout.trim();
  return text.startsWith("No devices") ? [] : text.split("\n").map((line) => line.split("\t")[0]);
}

/**
 * Fails if there is a device-mapper device, or a loop device of a file below a directory. The kernel
 * removes either a moment after its last user closed it, so this waits a while.
 *
 * @param but the names of devices that are another program's
 */
export function assertNoDevices(below?: string, but: readonly string[] = []): void {
  const left = () => [
    ...deviceNames().filter((name) => !but.includes(name)),
    ...below === undefined ? [] : loopFiles(below),
  ];
  retryBusy(PATIENCE, () => left().length > 0 ? -EBUSY : 0);
  assertEquals(left(), []);
}

/** A file as a loop device of its own, until disposed of. */
export function loopDevice(file: string, size: number): Disposable & { readonly path: string } {
  Deno.writeFileSync(file, new Uint8Array(0));
  Deno.truncateSync(file, size);
  const path = must("losetup", "--find", "--show", file).trim();
  return { path, [Symbol.dispose]: () => void must("losetup", "--detach", path) };
}

/** Writes zeros, so many MiB, by a process that has little memory: a guest's pages are costly. */
export const writeZeros = (path: string, mebibytes: number) =>
  must("dd", "if=/dev/zero", `of=${path}`, "bs=1M", `count=${mebibytes}`, "status=none");
