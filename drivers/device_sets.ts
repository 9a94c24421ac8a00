/**
 * Opens the thin devices of a store, without the layers on them.
 *
 * @module
 */
import { DRIVERS } from "./names.ts";
import type { DeviceStore } from "./devicemapper/device_store.ts";
import {
  checkStores,
  completed,
  type OpenOptions,
  ownOptions,
  parseStoreOptions,
  priorStores,
} from "./registry.ts";

/** The driver with thin devices. */
const NAME = "devicemapper";

/**
 * Opens the thin devices of the driver devicemapper: block devices with a file system each, which
 * may be snapshots of each other.
 *
 * The store is created if it is missing. Of the options, only those that begin with `dm.` have an
 * effect. This needs root and `--allow-all`.
 *
 * @example A device and a snapshot of it
 * ```ts no-eval
 * import { openDeviceSet } from "@veneer/veneer";
 *
 * using devices = await openDeviceSet({ root: "/srv/devices", options: ["dm.basesize=1G"] });
 * devices.add("template");
 * devices.mount("template", "/mnt");
 * Deno.writeTextFileSync("/mnt/motd", "welcome\n");
 * devices.unmount("template", "/mnt");
 * devices.add("copy", { origin: "template", size: 2 * 2 ** 30 });
 * console.log(devices.activate("copy")); // a block device
 * ```
 *
 * @throws {VeneerError} `not supported` if a feature of the kernel or of libdevmapper is missing,
 * `incompatible` if the store is another driver's, `invalid argument` for an unknown option
 */
export async function openDeviceSet(
  options: Omit<OpenOptions, "driver"> = {},
): Promise<DeviceStore> {
  const { root, options: texts, idMaps, warn } = completed(options);
  const { given } = parseStoreOptions(texts);
  const definition = DRIVERS.find(({ name }) => name === NAME)!;
  checkStores(NAME, priorStores(root), root);
  const { openDevices } = await import("./devicemapper/driver.ts");
  return openDevices({ root, options: ownOptions(given, definition), idMaps, warn });
}
