/**
 * The code of the devicemapper driver: opens its stores.
 *
 * @module
 */
import { LOG_ERR, setLogSink } from "../../ffi/devmapper_log.ts";
import type { DriverContext } from "../definition.ts";
import { makeDirectory } from "../../lib/tree/confined.ts";
import { dockerOnHome } from "../../lib/store/dockerd.ts";
import { Home } from "../../lib/store/home.ts";
import { kernelMountPort } from "../../lib/mount/port.ts";
import { MountPlaces } from "../../lib/store/mount_places.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { DeviceMapper } from "./backend.ts";
import { DeviceSet } from "./device_set.ts";
import { Devices, type DeviceStore } from "./device_store.ts";
import { type DeviceMapperOptions, parseDriverOptions } from "./options.ts";
import { DeviceMapperSnapshots } from "./snapshots.ts";
import { checkSupport, checkUdev, decideDeferral } from "./support.ts";

export { examine } from "./examine.ts";

export function open(context: DriverContext): DeviceMapper {
  const { idMaps, warn } = context;
  const options = start(context);
  const home = openHome("devicemapper", context);
  const state = RunState.of(home);
  const daemon = () => dockerOnHome(context.root, home, state);
  const devices = new DeviceSet({ home, state, options, warn, daemon });
  const places = new MountPlaces(home, state, () => devices.isBesideDaemon);
  return new DeviceMapper({ home, places, idMaps, devices, options, port: kernelMountPort, warn });
}

/** Opens the devices of the same store as {@linkcode open}. */
export function openDevices(context: DriverContext): DeviceStore {
  const options = start(context);
  const home = openHome("devicemapper", context);
  const state = RunState.of(home);
  const daemon = () => dockerOnHome(context.root, home, state);
  const devices = new DeviceSet({ home, state, options, warn: context.warn, daemon });
  return new Devices({ home, state, devices, options });
}

export function openSnapshots(context: DriverContext): DeviceMapperSnapshots {
  const { idMaps, warn } = context;
  const options = start(context);
  const home = openHome("snapshots/devicemapper", context);
  const state = RunState.of(home);
  const devices = new DeviceSet({ home, state, options, hasEmptyBase: true, warn });
  return new DeviceMapperSnapshots({ home, idMaps, devices, options, warn });
}

/** Reads the options, and requires that the driver can run on this machine. */
function start({ options: given, warn }: DriverContext): DeviceMapperOptions {
  const requested = parseDriverOptions(given);
  const problem = checkSupport();
  if (problem !== undefined) throw problem;
  // Failures become part of an error's message; the log repeats them only on request.
  setLogSink((level, text) => {
    if (level <= requested.logLevel) {
      warn(`libdevmapper (${level < LOG_ERR ? "fatal" : level}): ${text}`);
    }
  });
  checkUdev(requested);
  return decideDeferral(requested);
}

/** @param store its path, relative to the root */
function openHome(store: string, { root, idMaps, warn }: DriverContext): Home {
  const home = Home.open(root, store, idMaps, { warn });
  for (const name of ["devicemapper", "metadata"]) makeDirectory(home.join(name), 0o700);
  makeDirectory(home.join("mnt"), 0o711);
  return home;
}
