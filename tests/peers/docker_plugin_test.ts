/** Debian 12's Docker on the plugin. */
// @runs on ext4, btrfs
import { needs, TEST_FS } from "../support/cases.ts";
import { lacksDocker } from "./docker.ts";
import { everyday, PluginDocker, restarts } from "./docker_plugin.ts";

const lacking = await lacksDocker();
const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";

needs(lacking, `docker plugin: Docker 20.10 lives on ${driver}`, async () => {
  await using both = await PluginDocker.start(driver);
  everyday(both, { hasSizes: driver === "btrfs" });
  await restarts(both);
  both.assertEmpty();
});
