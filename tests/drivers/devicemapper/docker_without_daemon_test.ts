/** A store of Docker's on devicemapper, read without Docker. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { mountControlGroups } from "../../peers/docker.ts";
import { checkStore } from "../../peers/docker_without_daemon.ts";
import { lacksProgram, needs, run } from "../../support/cases.ts";
import { deviceNames, FILE_SYSTEM, lacking } from "./support.ts";

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("runc");

const OPTIONS = [
  `dm.basesize=${FILE_SYSTEM === "xfs" ? "400M" : "96M"}`,
  `dm.fs=${FILE_SYSTEM}`,
  "dm.loopdatasize=512M",
  "dm.loopmetadatasize=8M",
  "dm.override_udev_sync_check=true",
];

needs(
  lacks,
  "Docker's store of devicemapper is read without its daemon, and nothing of it changes",
  async () => {
    mountControlGroups();
    const loops = () => run("losetup", "--all", "--noheadings").stdout;
    const before = loops();
    await checkStore("devicemapper", OPTIONS);
    assertEquals([deviceNames(), loops()], [[], before]);
  },
);
