/** The same layers, the same tree: btrfs. */
// @runs on btrfs
import { openDriver } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacking } from "./support.ts";
import { sameTree } from "../same_tree/suite.ts";

sameTree({
  name: "btrfs",
  open: (root) =>
    openDriver({
      root,
      driver: "btrfs",
      options: ["btrfs.quota=off"],
      idMaps: IDENTITY,
      warn: (message) => {
        throw new Error(`a warning: ${message}`);
      },
    }),
  lacking,
  copiesUp: false,
});
