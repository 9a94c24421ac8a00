/**
 * What the kill test of `repair --from` of snapshots kills.
 *
 *     restore_snapshot_child.ts ROOT DRIVER TAR
 */
import { untilKilled } from "../drivers/kill/point.ts";
import { restore } from "./restore_subjects.ts";

const [root, driver, tar] = Deno.args;
untilKilled(() => void restore({ root, driver, of: "snapshots" }, tar));
