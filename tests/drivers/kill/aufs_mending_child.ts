/**
 * What the kill case of mending aufs's layers kills: the unmount of layer 3.
 *
 *     aufs_mending_child.ts ROOT
 */
import { undoPlan } from "../../../lib/mount/plan.ts";
import { open, Recorder } from "../aufs/support.ts";
import { untilKilled } from "./point.ts";

if (import.meta.main) {
  const [root] = Deno.args;
  const recorder = new Recorder(root, true);
  const backend = open(root, { port: recorder });
  untilKilled(() => undoPlan(backend.plan("3", {}), recorder, () => {}));
}
