/** The same layers, the same tree: devicemapper. */
// @runs on guest ext4
import { FILE_SYSTEM, lacking, openStore } from "./support.ts";
import { sameTree } from "../same_tree/suite.ts";

sameTree({
  name: `devicemapper with ${FILE_SYSTEM}`,
  // In a guest, starting a worker takes longer than what it does.
  open: (root) => openStore(root, { options: ["workers=0"] }),
  lacking,
  copiesUp: false,
});
