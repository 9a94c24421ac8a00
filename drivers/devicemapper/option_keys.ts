/**
 * The keys of the driver's `-o` options, which `options.ts` reads.
 *
 * @module
 */

/** Options that set up LVM volumes. */
export const DIRECT_LVM_KEYS = [
  "dm.directlvm_device",
  "dm.thinp_percent",
  "dm.thinp_metapercent",
  "dm.thinp_autoextend_threshold",
  "dm.thinp_autoextend_percent",
  "dm.directlvm_device_force",
];

/** The keys, as users write them. */
export const OPTION_KEYS: readonly string[] = [
  "dm.basesize",
  "dm.fs",
  "dm.mkfsarg",
  "dm.mountopt",
  "dm.loopdatasize",
  "dm.loopmetadatasize",
  "dm.datadev",
  "dm.metadatadev",
  "dm.thinpooldev",
  "dm.blocksize",
  "dm.blkdiscard",
  "dm.override_udev_sync_check",
  "dm.use_deferred_removal",
  "dm.use_deferred_deletion",
  "dm.min_free_space",
  "dm.xfs_nospace_max_retries",
  "dm.libdm_log_level",
  "dm.when_full",
  ...DIRECT_LVM_KEYS,
];
