/**
 * The keys of the driver's `-o` options, which `options.ts` reads.
 *
 * @module
 */

/** The keys, as users write them. */
export const OPTION_KEYS: readonly string[] = ["btrfs.min_space", "btrfs.quota", "btrfs.device"];
