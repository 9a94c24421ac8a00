/**
 * The number of branches that a mount of aufs may have. It is decided when aufs is built
 * (`fs/aufs/Kconfig`).
 *
 * As a module, aufs reports its configuration in sysfs. If it is built into the kernel, it does not
 * (`fs/aufs/sysfs.c`), and the kernel's configuration is searched.
 *
 * @module
 */
import { hasFileSystem } from "../../lib/base/kernel.ts";
import { KERNEL_CONFIGURATIONS, readConfiguration } from "../../lib/base/kernel_config.ts";

/** The least limit, which is the default: `AUFS_BRANCH_MAX_127` of `fs/aufs/Kconfig`. */
export const LEAST_LIMIT = 127;

/** The files that may contain the limit, in the order in which they are read. */
export const CONFIGURATIONS: readonly string[] = [
  "/sys/fs/aufs/config",
  ...KERNEL_CONFIGURATIONS,
];

/**
 * The number of branches that a mount may have, including the layer's own.
 *
 * @returns `undefined` if no file contains it, such as for a module that is not loaded
 */
export function branchLimit(configurations = CONFIGURATIONS): number | undefined {
  for (const path of configurations) {
    const [, limit] = /^CONFIG_AUFS_BRANCH_MAX_(\d+)=y$/m.exec(readConfiguration(path)) ?? [];
    if (limit !== undefined) return Number(limit);
  }
  return undefined;
}

/**
 * The same if so many branches may exceed it, else `undefined`. An aufs module is loaded first. On
 * a kernel without aufs the result is `undefined`, because the kernel that will mount the layer is
 * unknown.
 */
export function branchLimitFor(branches: number): number | undefined {
  return branches > LEAST_LIMIT && hasFileSystem("aufs") ? branchLimit() : undefined;
}
