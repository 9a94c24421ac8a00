/** devicemapper's commands killed at random moments, those of layers and of snapshots. */
// @runs on guest ext4
import { IS_LONG, needs } from "../../support/cases.ts";
import { ImageStore } from "../../support/processes.ts";
import { killAtRandom } from "../../support/random_kills.ts";
import { assertNoDevices, lacking, SMALL } from "./support.ts";

const KILLS = IS_LONG ? 250 : 5;

needs(
  lacking,
  `killed: ${KILLS} commands on devicemapper at random moments, and the store is fine after each`,
  async () => {
    using store = new ImageStore("devicemapper", "ext4", undefined, SMALL);
    // A guest has one processor.
    await killAtRandom(store, KILLS, [["ls"], ["snapshot", "ls"]]);
    assertNoDevices();
  },
);
