/**
 * The btrfs driver: what `registry.ts` knows of it.
 *
 * @module
 */
import { lstat } from "../../ffi/stat.ts";
import type { DriverContext, DriverDefinition } from "../../lib/driver_definition.ts";
import { Home } from "../../lib/home.ts";
import { Btrfs } from "./backend.ts";
import { examine, requireBtrfs } from "./examine.ts";
import { Layout } from "./layout.ts";
import { OPTION_KEYS, parseDriverOptions } from "./options.ts";
import { own } from "./ownership.ts";
import { Quota } from "./quota.ts";

export const btrfs: DriverDefinition = {
  name: "btrfs",
  optionKeys: OPTION_KEYS,
  examine,
  open,
};

function open({ root, options: texts, idMaps, warn }: DriverContext): Btrfs {
  const options = parseDriverOptions(texts);
  requireBtrfs(root);
  const home = Home.open(root, "btrfs", idMaps, 0o700);
  if (lstat(home.path).uid !== idMaps.uids.root) own(home.path, idMaps);
  const layout = new Layout(home);
  layout.make(idMaps);
  const quota = new Quota(home, options.quota, warn);
  if (options.minSpace > 0) quota.enable("btrfs.min_space");
  return new Btrfs(layout, quota, options, idMaps);
}
