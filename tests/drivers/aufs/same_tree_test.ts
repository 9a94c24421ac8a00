/** The same layers, the same tree: aufs, where the kernel has it. */
// @runs on ext4
// @runs long on xfs, btrfs
import { openDriver } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacking } from "./support.ts";
import { sameTree } from "../same_tree/suite.ts";

sameTree({
  name: "aufs",
  open: (root) =>
    openDriver({
      root,
      driver: "aufs",
      options: [],
      idMaps: IDENTITY,
      warn: () => {}, // Of names that are too long for aufs.
    }),
  lacking,
  copiesUp: true,
});
