/** A Docker root goes from devicemapper to overlay2: with VENEER_TEST_LONG=1, since it takes minutes in a guest. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { mountControlGroups } from "../../peers/docker.ts";
import { checkMigration } from "../../peers/docker_migrate.ts";
import { IS_LONG, lacksProgram, needs } from "../../support/cases.ts";
import { devicePool, lacksPool } from "./device_pool.ts";
import { deviceNames, lacking, loopFiles } from "./support.ts";

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
    assertEquals([deviceNames(), loopFiles("/").filter((file) => /devicemapper/.test(file))], [
      [],
      [],
    ]);
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
    assertEquals(deviceNames(), [pool.name]);
  },
);
