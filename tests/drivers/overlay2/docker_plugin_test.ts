/** A container's size, as Docker on the plugin asks for it: on xfs with pquota and ext4 with prjquota. */
// @runs on guest xfs
// @runs long on guest ext4
import { lacksProgram, needs } from "../../support/cases.ts";
import { mountControlGroups } from "../../peers/docker.ts";
import { assertSize, PluginDocker } from "../../peers/docker_plugin.ts";

const lacking = lacksProgram("dockerd") ?? lacksProgram("docker") ?? lacksProgram("runc");

needs(lacking, "docker plugin: a container's size is kept to on overlay2", async () => {
  mountControlGroups();
  await using both = await PluginDocker.start("overlay2");
  both.importBase();
  assertSize(both, true);
  both.assertEmpty();
});
