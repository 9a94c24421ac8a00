/**
 * What the kill tests of `repair` kill.
 *
 *     repair_child.ts ROOT layers|snapshots
 */
import { DRIVERS } from "../../drivers/names.ts";
import { repairStore } from "../../lib/care/repair.ts";
import { untilKilled } from "../drivers/kill/point.ts";

if (import.meta.main) {
  const [root, of] = Deno.args as [string, "layers" | "snapshots"];
  const [{ loadChecks }] = DRIVERS;
  const checks = await loadChecks?.();
  const failed = (error: Error) => {
    throw error;
  };
  untilKilled(() =>
    repairStore({ root, driver: "overlay2", of, checks }, { isWanted: () => true, failed })
  );
}
