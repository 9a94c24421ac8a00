/**
 * The overlay2 driver: what `registry.ts` knows of it.
 *
 * @module
 */
import { statfs } from "../../ffi/statfs.ts";
import { join } from "@std/path";
import type { DriverContext, DriverDefinition } from "../../lib/driver_definition.ts";
import { VeneerError } from "../../lib/errors.ts";
import { Home, makeDirectory, nearestExisting } from "../../lib/home.ts";
import { Overlay2 } from "./backend.ts";
import { examine } from "./examine.ts";
import { mountFeatures, takesLowersOneByOne } from "./kernel.ts";
import { LINKS } from "./layout.ts";
import { OPTION_KEYS, type Overlay2Options, parseDriverOptions } from "./options.ts";
import { checkBacking, checkEntryTypes, checkKernelVersion, checkOverlay } from "./support.ts";

export const overlay2: DriverDefinition = {
  name: "overlay2",
  optionKeys: OPTION_KEYS,
  examine,
  open,
};

function open(context: DriverContext): Overlay2 {
  const options = parseDriverOptions(context.options);
  const below = nearestExisting(join(context.root, "overlay2"));
  const backing = statfs(below);
  const problem = checkOverlay() ?? checkKernelVersion(Deno.osRelease(), options) ??
    checkBacking(below, backing, options) ?? checkEntryTypes(below, backing);
  if (problem !== undefined) throw problem;

  const home = Home.open(context.root, "overlay2", context.idMaps);
  makeDirectory(home.join(LINKS), 0o700);
  return new Overlay2(home, context.idMaps, {
    options,
    api: chooseApi(home, options),
    features: mountFeatures(),
    backing: backing.name,
  });
}

function chooseApi(home: Home, { mountApi }: Overlay2Options): "new" | "old" {
  if (mountApi === "old") return "old";
  if (takesLowersOneByOne(home.path)) return "new";
  if (mountApi === "auto") return "old";
  throw new VeneerError(
    "not supported",
    `kernel ${Deno.osRelease()} does not take overlay's lowerdir+, which is in Linux 6.7 and later; ` +
      "leave -o overlay2.mount_api out",
  );
}
