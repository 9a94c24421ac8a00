/**
 * The code of the aufs driver: opens its stores.
 *
 * @module
 */
import type { DriverContext } from "../definition.ts";
import { DATABASE } from "../../lib/snapshots/open_store.ts";
import { Aufs } from "./backend.ts";
import { openHome } from "./environment.ts";
import { AufsSnapshots } from "./snapshots.ts";

export { examine } from "./examine.ts";

export function open(context: DriverContext): Aufs {
  const { home, environment } = openHome(context, "aufs", "layers");
  return new Aufs(home, context.idMaps, environment);
}

export function openSnapshots(context: DriverContext): AufsSnapshots {
  const { home, environment } = openHome(context, "snapshots/aufs", DATABASE);
  return new AufsSnapshots(home, context.idMaps, environment);
}
