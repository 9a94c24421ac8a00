/** Interrupted commands on devicemapper, where every layer that is read or filled has to be mounted. */
// @runs on guest ext4
// @runs long on guest xfs
import { assertEquals } from "@std/assert";
import { interruptedTransfers } from "../../support/interrupted_transfers.ts";
import { deviceNames, FILE_SYSTEM, lacking, SMALL } from "./support.ts";

interruptedTransfers({
  driver: "devicemapper",
  lacking: lacking ?? (FILE_SYSTEM === "xfs" ? "it ran on ext4" : undefined),
  options: SMALL,
  assertIdle: () =>
    assertEquals(
      deviceNames().filter((name) => !name.endsWith("-pool")),
      [],
      "no device is active",
    ),
});
