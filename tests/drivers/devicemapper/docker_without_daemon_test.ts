/** A store of Docker's on devicemapper, read without Docker. */
// @runs on guest ext4
import { mountControlGroups } from "../../peers/docker.ts";
import { checkStore } from "../../peers/docker_without_daemon.ts";
import { lacksProgram, needs, run } from "../../support/cases.ts";
import { until } from "../../support/processes.ts";
import { devicePool, lacksPool } from "./device_pool.ts";
import { assertNoDevices, FILE_SYSTEM, lacking } from "./support.ts";

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("runc");

const OPTIONS = [
  `dm.basesize=${FILE_SYSTEM === "xfs" ? "400M" : "96M"}`,
  `dm.fs=${FILE_SYSTEM}`,
  "dm.override_udev_sync_check=true",
];

needs(
  lacks,
  "Docker's store of devicemapper is read without its daemon, and nothing of it changes",
  async () => {
    mountControlGroups();
    const loops = () => run("losetup", "--all", "--noheadings").stdout;
    const before = loops();
    const files = ["dm.loopdatasize=512M", "dm.loopmetadatasize=8M"];
    await checkStore("devicemapper", [...OPTIONS, ...files]);
    assertNoDevices();
    await until("the end of all loop devices", () => loops() === before);
  },
);

needs(
  lacks ?? lacksPool(),
  "Docker's store of devicemapper is read from a pool on devices, and nothing of it changes",
  async () => {
    mountControlGroups();
    using pool = devicePool("vg-thinpool");
    const options = [...OPTIONS, `dm.thinpooldev=/dev/mapper/${pool.name}`];
    await checkStore("devicemapper", options, pool);
    assertNoDevices(undefined, [pool.name]);
  },
);
