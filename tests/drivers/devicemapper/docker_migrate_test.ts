/** A Docker root goes from devicemapper to overlay2: with VENEER_TEST_LONG=1, since it takes minutes in a guest. */
// @runs on guest ext4
import { mountControlGroups } from "../../peers/docker.ts";
import { checkMigration } from "../../peers/docker_migrate.ts";
import { IS_LONG, lacksProgram, needs } from "../../support/cases.ts";
import { until } from "../../support/processes.ts";
import { devicePool, lacksPool } from "./device_pool.ts";
import { assertNoDevices, lacking, loopFiles } from "./support.ts";

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ?? lacksProgram("runc");

const OPTIONS = ["dm.basesize=96M", "dm.fs=ext4", "dm.override_udev_sync_check=true"];

const shortRun = IS_LONG ? undefined : "it is in the long run";

needs(
  lacks ?? shortRun,
  "Docker's root goes from devicemapper to overlay2, and its containers start there",
  async () => {
    mountControlGroups();
    const options = [...OPTIONS, "dm.loopdatasize=512M", "dm.loopmetadatasize=8M"];
    await checkMigration({ disk: "ext4", from: "devicemapper", to: "overlay2", options });
    assertNoDevices();
    const left = () => loopFiles("/").filter((file) => /devicemapper/.test(file));
    await until("the end of its loop devices", () => left().length === 0);
  },
);

needs(
  lacks ?? shortRun ?? lacksPool(),
  "Docker's root goes from a pool on devices to overlay2, and no other device stays",
  async () => {
    mountControlGroups();
    using pool = devicePool("vg-thinpool");
    const ours = [`dm.thinpooldev=/dev/mapper/${pool.name}`], options = [...OPTIONS, ...ours];
    await checkMigration({ disk: "ext4", from: "devicemapper", to: "overlay2", options, ours });
    assertNoDevices(undefined, [pool.name]);
  },
);
