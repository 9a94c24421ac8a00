/** Debian 12's Docker on the plugin, with devicemapper. */
// @runs on guest ext4
import { IS_LONG, lacksProgram, needs } from "../../support/cases.ts";
import { randomOf } from "../../support/random.ts";
import { mountControlGroups } from "../../peers/docker.ts";
import { everyday, killed, PluginDocker, restarts } from "../../peers/docker_plugin.ts";
import { lacking as lacksDevices, SMALL } from "./support.ts";

// It takes some minutes in a guest; Docker's suite through the plugin is in every run.
const lacking = lacksDevices ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("runc") ?? (IS_LONG ? undefined : "it is in the long run");
const ROUNDS = 20;

needs(lacking, "docker plugin: Docker 20.10 lives on devicemapper", async () => {
  mountControlGroups();
  // A layer of the size that is asked for has to be no smaller than the base.
  await using both = await PluginDocker.start("devicemapper", {}, [...SMALL, "dm.basesize=48M"]);
  everyday(both, { hasSizes: true });
  await restarts(both);
  await killed(both, ROUNDS, randomOf(16));
  await both.assertForgotten();
  await both.docker.stop();
  await both.plugin.call("Cleanup");
});
