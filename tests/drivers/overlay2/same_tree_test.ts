/** The same layers, the same tree: overlay2. */
// @runs on ext4, xfs
import { openDriver } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacksFileSystem } from "../../support/cases.ts";
import { sameTree } from "../same_tree/suite.ts";

sameTree({
  name: "overlay2",
  open: (root) =>
    openDriver({
      root,
      driver: "overlay2",
      options: ["overlay2.allow_btrfs=true"],
      idMaps: IDENTITY,
      warn: (message) => {
        throw new Error(`a warning: ${message}`);
      },
    }),
  lacking: lacksFileSystem("overlay"),
  copiesUp: true,
});
