/** Interrupted commands on devicemapper, where every layer that is read or filled has to be mounted. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { interruptedTransfers } from "../../support/interrupted_transfers.ts";
import { deviceNames, lacking, SMALL } from "./support.ts";

interruptedTransfers({
  driver: "devicemapper",
  lacking,
  options: SMALL,
  assertIdle: () =>
    assertEquals(
      deviceNames().filter((name) => !name.endsWith("-pool")),
      [],
      "no device is active",
    ),
});
