/**
 * The overlay2 driver: what `registry.ts` knows of it.
 *
 * @module
 */
import { makeDirectory } from "../../lib/tree/confined.ts";
import type { DriverContext, DriverDefinition } from "../definition.ts";
import { Overlay2 } from "./backend.ts";
import { openHome } from "./environment.ts";
import { examine } from "./examine.ts";
import { LINKS } from "./layout.ts";
import { OPTION_KEYS } from "./options.ts";
import { Overlay2Snapshots } from "./snapshots.ts";

export const overlay2: DriverDefinition = {
  name: "overlay2",
  optionKeys: OPTION_KEYS,
  examine,
  open,
  openSnapshots,
};

function open(context: DriverContext): Overlay2 {
  const { home, environment } = openHome(context, "overlay2");
  makeDirectory(home.join(LINKS), 0o700);
  return new Overlay2(home, context.idMaps, environment);
}

function openSnapshots(context: DriverContext): Overlay2Snapshots {
  const { home, environment } = openHome(context, "snapshots/overlay2");
  return new Overlay2Snapshots(home, context.idMaps, environment);
}
