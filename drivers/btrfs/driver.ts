/**
 * The code of the btrfs driver: opens its stores.
 *
 * @module
 */
import { join } from "@std/path";
import type { DriverContext } from "../definition.ts";
import { Home } from "../../lib/store/home.ts";
import { MountPlaces } from "../../lib/store/mount_places.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { Btrfs } from "./backend.ts";
import { requireBtrfs } from "./examine.ts";
import { Layout } from "./layout.ts";
import { parseDriverOptions } from "./options.ts";
import { Quota } from "./quota.ts";
import { BtrfsSnapshots } from "./snapshots.ts";
import { SnapshotLayout } from "./snapshots_layout.ts";

export { examine } from "./examine.ts";

export function open({ root, options: texts, idMaps, warn }: DriverContext): Btrfs {
  const options = parseDriverOptions(texts);
  requireBtrfs(root);
  const home = Home.open(root, "btrfs", idMaps, { warn });
  const layout = new Layout(home);
  layout.make(idMaps);
  const quota = new Quota(home, options.quota, warn);
  if (options.minSpace > 0) quota.enable("btrfs.min_space");
  // Only layers with mapped ids are mounted beside the home; all others are mounted on themselves.
  const places = new MountPlaces(home, RunState.of(home), () => false);
  return new Btrfs(layout, quota, options, idMaps, places);
}

export function openSnapshots({ root, options, idMaps, warn }: DriverContext): BtrfsSnapshots {
  const { quota, device } = parseDriverOptions(options);
  requireBtrfs(join(root, "snapshots"));
  const home = Home.open(root, "snapshots/btrfs", idMaps, { mode: 0o700, warn });
  const layout = new SnapshotLayout(home);
  layout.make();
  return new BtrfsSnapshots(layout, new Quota(home, quota, warn), { device, idMaps, warn });
}
