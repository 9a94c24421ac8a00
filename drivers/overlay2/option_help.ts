/**
 * Help on the driver's options.
 *
 * @module
 */
import { BOOLEAN, type DriverHelp } from "../definition.ts";

export const HELP: DriverHelp = {
  options: [
    {
      key: "overlay2.size",
      value: "SIZE",
      summary: "the size limit of read-write layers without one of their own",
    },
    { key: "overlay2.inodes", value: "COUNT", summary: "the same for the number of files" },
    {
      key: "overlay2.allow_btrfs",
      ...BOOLEAN,
      summary: "allow a store on btrfs, which is refused otherwise",
    },
    {
      key: "overlay2.mount_api",
      value: "auto|new|old",
      choices: ["auto", "new", "old"],
      summary: "mount by lowerdir+ or by mount(2); auto (the default) tries the first",
    },
    {
      key: "overlay2.mountopt",
      value: "OPTION,…",
      summary: "options of overlay itself for every mount, such as index=on",
    },
    {
      key: "overlay2.upperdir_label",
      ...BOOLEAN,
      summary: "publish the directory of a snapshot's changes, as a label",
    },
    {
      key: "overlay2.override_kernel_check",
      ...BOOLEAN,
      summary: "run on a kernel older than 4.0",
    },
  ],
  storageOptions: [
    { key: "size", value: "SIZE", summary: "a limit for the space of a read-write layer" },
    { key: "inodes", value: "COUNT", summary: "a limit of its files" },
  ],
};
