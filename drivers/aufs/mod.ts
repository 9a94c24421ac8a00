/**
 * The aufs driver: what `registry.ts` knows of it.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";
import { statfs } from "../../ffi/statfs.ts";
import type { DriverContext, DriverDefinition } from "../../lib/driver_definition.ts";
import { Home, nearestExisting } from "../../lib/home.ts";
import { kernelMountPort } from "../../lib/mount_port.ts";
import { mountAt } from "../../lib/mountinfo.ts";
import { Aufs } from "./backend.ts";
import { examine } from "./examine.ts";
import { PLINK_MAINT } from "./plink.ts";
import { branchLimit, checkAufs, checkBacking } from "./support.ts";
import { xinoDirectory } from "./xino.ts";

export const aufs: DriverDefinition = {
  name: "aufs",
  optionKeys: [],
  examine,
  open,
};

/** A store that is there opens on every kernel: what needs a mount then says that it does. */
function open({ root, idMaps, warn }: DriverContext): Aufs {
  const below = nearestExisting(join(root, "aufs"));
  const backing = statfs(below);
  const isStore = tryLstat(join(root, "aufs", "layers")) !== undefined;
  const problem = checkBacking(below, backing) ?? (isStore ? undefined : checkAufs());
  if (problem !== undefined) throw problem;

  return new Aufs(Home.open(root, "aufs", idMaps), idMaps, {
    backing: backing.name,
    checkMountable: checkAufs,
    port: kernelMountPort,
    mountAt,
    shm: xinoDirectory(),
    plinkMaint: PLINK_MAINT,
    branchLimit,
    warn,
  });
}
