/**
 * The aufs driver: what `registry.ts` knows of it.
 *
 * @module
 */
import type { DriverContext, DriverDefinition } from "../definition.ts";
import { DATABASE } from "../../lib/snapshots/snapshots.ts";
import { Aufs } from "./backend.ts";
import { openHome } from "./environment.ts";
import { examine } from "./examine.ts";
import { AufsSnapshots } from "./snapshots.ts";

export const aufs: DriverDefinition = {
  name: "aufs",
  optionKeys: [],
  examine,
  open,
  openSnapshots,
};

function open(context: DriverContext): Aufs {
  const { home, environment } = openHome(context, "aufs", "layers");
  return new Aufs(home, context.idMaps, environment);
}

function openSnapshots(context: DriverContext): AufsSnapshots {
  const { home, environment } = openHome(context, "snapshots/aufs", DATABASE);
  return new AufsSnapshots(home, context.idMaps, environment);
}
