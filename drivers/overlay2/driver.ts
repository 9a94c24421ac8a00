/**
 * The code of the overlay2 driver: opens its stores.
 *
 * @module
 */
import { makeDirectory } from "../../lib/tree/confined.ts";
import { dockerOnHome } from "../../lib/store/dockerd.ts";
import { MountPlaces } from "../../lib/store/mount_places.ts";
import { RunState } from "../../lib/store/run_state.ts";
import type { DriverContext } from "../definition.ts";
import { Overlay2 } from "./backend.ts";
import { openHome } from "./environment.ts";
import { LINKS } from "./layout.ts";
import { Overlay2Snapshots } from "./snapshots.ts";

export { examine } from "./examine.ts";

export function open(context: DriverContext): Overlay2 {
  const { home, environment } = openHome(context, "overlay2");
  makeDirectory(home.join(LINKS), 0o700);
  const state = RunState.of(home);
  const isDaemonThere = () => dockerOnHome(context.root, home, state) !== undefined;
  const places = new MountPlaces(home, state, isDaemonThere);
  return new Overlay2(home, context.idMaps, environment, places);
}

export function openSnapshots(context: DriverContext): Overlay2Snapshots {
  const { home, environment } = openHome(context, "snapshots/overlay2");
  return new Overlay2Snapshots(home, context.idMaps, environment);
}
