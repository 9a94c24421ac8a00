/**
 * Help on the driver's options.
 *
 * @module
 */
import type { DriverHelp } from "../definition.ts";

export const HELP: DriverHelp = {
  options: [
    {
      key: "btrfs.quota",
      value: "qgroup|simple|off",
      choices: ["qgroup", "simple", "off"],
      summary:
        "how sizes are limited: qgroup (default) counts inherited data, simple does not, off refuses them",
    },
    {
      key: "btrfs.min_space",
      value: "SIZE",
      summary: "turn quotas on when the store is opened; the least size that a layer may be given",
    },
    {
      key: "btrfs.device",
      value: "PATH",
      summary: "the device that snapshots are mounted from, if mountinfo does not show it",
    },
  ],
  storageOptions: [
    {
      key: "size",
      value: "SIZE",
      summary: "a limit of a read-write layer, no less than the space of its parents",
    },
  ],
};
