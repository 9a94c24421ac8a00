/**
 * How many branches a mount of aufs may have. That is decided when aufs is built
 * (`fs/aufs/Kconfig`).
 *
 * Its module reports its configuration in sysfs. Built into a kernel it does not
 * (`fs/aufs/sysfs.c`), and the configuration of the kernel is looked for.
 *
 * @module
 */
import { hasFileSystem } from "../../lib/base/kernel.ts";
import { KERNEL_CONFIGURATIONS, readConfiguration } from "../../lib/base/kernel_config.ts";

/** The least, and the default: `AUFS_BRANCH_MAX_127` of `fs/aufs/Kconfig`. */
export const LEAST_LIMIT = 127;

/** The files that may have it, in the order in which they are read. */
export const CONFIGURATIONS: readonly string[] = [
  "/sys/fs/aufs/config",
  ...KERNEL_CONFIGURATIONS,
];

/**
 * How many branches a mount may have, the layer's own among them.
 *
 * @returns `undefined` if nothing tells it, as for a module that is not loaded
 */
export function branchLimit(configurations = CONFIGURATIONS): number | undefined {
  for (const path of configurations) {
    const [, limit] = /^CONFIG_AUFS_BRANCH_MAX_(\d+)=y$/m.exec(readConfiguration(path)) ?? [];
    if (limit !== undefined) return Number(limit);
  }
  return undefined;
}

/**
 * The same, if it matters for so many branches: then the module is loaded first, if aufs is one. On
 * a kernel without aufs the limit of the kernel that will mount the layer is not known.
 */
export function branchLimitFor(branches: number): number | undefined {
  return branches > LEAST_LIMIT && hasFileSystem("aufs") ? branchLimit() : undefined;
}
