/**
 * The keys of the driver's `-o` options, which `options.ts` reads.
 *
 * @module
 */

/** The keys, as users write them. */
export const OPTION_KEYS: readonly string[] = [
  "overlay2.override_kernel_check",
  "overlay2.size",
  "overlay2.inodes",
  "overlay2.allow_btrfs",
  "overlay2.mount_api",
  "overlay2.mountopt",
  "overlay2.upperdir_label",
];
