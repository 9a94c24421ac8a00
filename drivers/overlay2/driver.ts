/**
 * The code of the overlay2 driver: how its stores are opened.
 *
 * @module
 */
import { makeDirectory } from "../../lib/tree/confined.ts";
import type { DriverContext } from "../definition.ts";
import { Overlay2 } from "./backend.ts";
import { openHome } from "./environment.ts";
import { LINKS } from "./layout.ts";
import { Overlay2Snapshots } from "./snapshots.ts";

export { examine } from "./examine.ts";

export function open(context: DriverContext): Overlay2 {
  const { home, environment } = openHome(context, "overlay2");
  makeDirectory(home.join(LINKS), 0o700);
  return new Overlay2(home, context.idMaps, environment);
}

export function openSnapshots(context: DriverContext): Overlay2Snapshots {
  const { home, environment } = openHome(context, "snapshots/overlay2");
  return new Overlay2Snapshots(home, context.idMaps, environment);
}
