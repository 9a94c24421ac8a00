/**
 * Help on the driver's options. It leaves out those that set up LVM, because they are refused.
 *
 * @module
 */
import { BOOLEAN, type DriverHelp } from "../definition.ts";

export const HELP: DriverHelp = {
  options: [
    {
      key: "dm.basesize",
      value: "SIZE",
      summary: "of the device that base layers begin as (default 10G); it grows, never shrinks",
    },
    {
      key: "dm.fs",
      value: "ext4|xfs",
      choices: ["ext4", "xfs"],
      summary: "the file system of layers, for a new store",
    },
    { key: "dm.mkfsarg", value: "ARGS", summary: "more arguments of mkfs, separated by spaces" },
    { key: "dm.mountopt", value: "OPTION,…", summary: "more options of every mount" },
    { key: "dm.thinpooldev", value: "NAME", summary: "a thin pool to use instead of sparse files" },
    { key: "dm.datadev", value: "DEVICE", summary: "a block device for the pool's data" },
    { key: "dm.metadatadev", value: "DEVICE", summary: "one for the pool's metadata" },
    {
      key: "dm.loopdatasize",
      value: "SIZE",
      summary: "of the sparse file for data (default 100G); it only grows",
    },
    {
      key: "dm.loopmetadatasize",
      value: "SIZE",
      summary: "of the one for metadata (default 2G)",
    },
    { key: "dm.blocksize", value: "SIZE", summary: "the pool's unit of space (default 64K)" },
    {
      key: "dm.blkdiscard",
      ...BOOLEAN,
      summary: "give a removed layer's space back to the pool's device; on for sparse files",
    },
    {
      key: "dm.min_free_space",
      value: "PERCENT",
      summary: "of data and metadata, below which no layer is created (default 10%)",
    },
    {
      key: "dm.when_full",
      value: "queue|error",
      choices: ["queue", "error"],
      summary: "a full pool's writes wait or fail",
    },
    {
      key: "dm.use_deferred_removal",
      ...BOOLEAN,
      summary: "take a busy device down when its last user ends; on if supported",
    },
    {
      key: "dm.use_deferred_deletion",
      ...BOOLEAN,
      summary: "delete a busy layer's device then; on with the former",
    },
    {
      key: "dm.xfs_nospace_max_retries",
      value: "COUNT",
      summary: "how often xfs retries a write for which there is no space",
    },
    {
      key: "dm.override_udev_sync_check",
      ...BOOLEAN,
      summary: "run even if udev runs and libdevmapper cannot wait for it",
    },
    {
      key: "dm.libdm_log_level",
      value: "LEVEL",
      choices: ["2", "3", "4", "5", "6", "7"],
      summary: "how much of libdevmapper's log is passed on: 2 (fatal) to 7 (debug)",
    },
  ],
  storageOptions: [
    { key: "size", value: "SIZE", summary: "of a read-write layer, larger than its parent's" },
  ],
};
