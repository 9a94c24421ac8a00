/** Interrupted commands, with the drivers that this kernel has. */
import { interruptedTransfers } from "../support/interrupted_transfers.ts";
import { lacksFileSystem, lacksProgram } from "../support/cases.ts";

interruptedTransfers({ driver: "overlay2", lacking: lacksFileSystem("overlay") });
interruptedTransfers({
  driver: "btrfs",
  lacking: lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs"),
});
