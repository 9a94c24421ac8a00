/**
 * The facts about the machine that the driver collects when it opens a home.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";
import { statfs } from "../../ffi/statfs.ts";
import type { DriverContext } from "../definition.ts";
import type { VeneerError } from "../../lib/base/errors.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { Home, nearestExisting } from "../../lib/store/home.ts";
import type { MountPort } from "../../lib/mount/plan.ts";
import { kernelMountPort } from "../../lib/mount/port.ts";
import { mountAt, type MountInfo } from "../../lib/mount/mountinfo.ts";
import { type LayerUse, mountsEverywhere } from "../../lib/mount/uses.ts";
import { branchLimitFor } from "./branch_limit.ts";
import { SYSFS } from "./mounted.ts";
import { PLINK_MAINT } from "./plink.ts";
import { checkAufs, checkBacking } from "./support.ts";
import { xinoDirectory } from "./xino.ts";

/** The machine's parts that the driver uses, which tests can replace. */
export interface AufsEnvironment {
  /** The name of the file system below the home. */
  readonly backing: string;
  /** Returns the reason why layers cannot be mounted, if there is one. */
  readonly checkMountable: () => VeneerError | undefined;
  /** The mount calls of probes. */
  readonly port: MountPort;
  /** Returns the mount at a path. */
  readonly mountAt: (path: string) => MountInfo | undefined;
  /** Returns all mounts of aufs, by any program, in any mount namespace. */
  readonly aufsMounts: () => readonly LayerUse[];
  /** The directory in which aufs lists the branches of its mounts. */
  readonly sysfs: string;
  /** The directory for tables of inode numbers: see `xino.ts`. */
  readonly xino: string | undefined;
  /** The file that starts the maintenance of pseudo-links. */
  readonly plinkMaint: string;
  /**
   * Returns the number of branches that a mount may have, if it is known and may be less than
   * `branches`.
   */
  readonly branchLimit: (branches: number) => number | undefined;
  /** Gets warnings of one line each. */
  readonly warn: Warn;
}

/**
 * Opens the home of layers or of snapshots. An existing store opens on every kernel; operations
 * that need a mount then fail with that reason.
 *
 * @param store its path, relative to the root
 * @param mark the name of an entry that every store's home has
 * @throws {VeneerError} `not supported`, `incompatible`
 */
export function openHome(
  { root, idMaps, warn }: DriverContext,
  store: string,
  mark: string,
): { home: Home; environment: AufsEnvironment } {
  const below = nearestExisting(root, store);
  const backing = statfs(below);
  const isStore = tryLstat(join(root, store, mark)) !== undefined;
  const problem = checkBacking(below, backing) ?? (isStore ? undefined : checkAufs());
  if (problem !== undefined) throw problem;

  const home = Home.open(root, store, idMaps, { warn });
  const environment = {
    backing: backing.name,
    checkMountable: checkAufs,
    port: kernelMountPort,
    mountAt,
    aufsMounts: () => [...mountsEverywhere(" - aufs ")],
    sysfs: SYSFS,
    xino: xinoDirectory(home),
    plinkMaint: PLINK_MAINT,
    branchLimit: branchLimitFor,
    warn,
  };
  return { home, environment };
}
