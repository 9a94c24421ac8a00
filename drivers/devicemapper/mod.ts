/**
 * The devicemapper driver: what `registry.ts` knows of it.
 *
 * @module
 */
import { LOG_ERR, setLogSink } from "../../ffi/devmapper_log.ts";
import type { DriverContext, DriverDefinition } from "../../lib/driver_definition.ts";
import { Home, makeDirectory } from "../../lib/home.ts";
import { kernelMountPort } from "../../lib/mount_port.ts";
import { RunState } from "../../lib/run_state.ts";
import { DeviceMapper } from "./backend.ts";
import { DeviceSet } from "./device_set.ts";
import { examine } from "./examine.ts";
import { OPTION_KEYS, parseDriverOptions } from "./options.ts";
import { checkSupport, checkUdev, settleDeferral } from "./support.ts";

export const devicemapper: DriverDefinition = {
  name: "devicemapper",
  optionKeys: OPTION_KEYS,
  examine,
  open,
};

function open({ root, options: given, idMaps, warn }: DriverContext): DeviceMapper {
  const requested = parseDriverOptions(given);
  const problem = checkSupport();
  if (problem !== undefined) throw problem;
  // What fails becomes part of an error's message; its repetition in the log is for those who ask.
  setLogSink((level, text) => {
    if (level <= requested.logLevel) {
      warn(`libdevmapper (${level < LOG_ERR ? "fatal" : level}): ${text}`);
    }
  });
  checkUdev(requested);
  const options = settleDeferral(requested);

  const home = Home.open(root, "devicemapper", idMaps);
  for (const name of ["devicemapper", "metadata"]) makeDirectory(home.join(name), 0o700);
  makeDirectory(home.join("mnt"), 0o711);
  const devices = new DeviceSet({ home, state: new RunState(home), options, warn });
  return new DeviceMapper({ home, idMaps, devices, options, port: kernelMountPort, warn });
}
