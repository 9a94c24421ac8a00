/** Veneer beside a Docker daemon that runs containers on devicemapper. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { storeDir } from "../../support/store_dir.ts";
import { Docker, veneerBeside } from "../../peers/docker.ts";
import { assertAlone, fill, goesOn, runBeside } from "../../peers/docker_beside.ts";
import { lacksProgram, must, needs, run } from "../../support/cases.ts";
import { deviceNames, lacking, loopFiles } from "./support.ts";

/** Each takes some seconds in a guest; what could take something from a container comes first. */
const ROUNDS = Deno.env.has("VENEER_TEST_LONG") ? 100 : 10;

const OPTIONS = [
  "dm.basesize=96M",
  "dm.fs=ext4",
  "dm.loopdatasize=1G",
  "dm.loopmetadatasize=8M",
  "dm.override_udev_sync_check=true",
];

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("runc");

needs(
  lacks,
  "docker beside: devicemapper: no command takes anything from containers that run",
  async () => {
    using dir = storeDir();
    // The guest mounts no control groups.
    if (!run("mountpoint", "-q", "/sys/fs/cgroup").success) {
      must("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup");
    }
    const scratch = `${dir.path}/scratch`;
    Deno.mkdirSync(scratch);
    await using docker = new Docker(`${dir.path}/docker`, "devicemapper", OPTIONS);
    docker.start();
    await docker.stop();
    // A layer that Docker knows nothing of, in a pool that it made.
    for (const command of [["create", "own"], ["cleanup"]]) {
      const { code, stderr } = veneerBeside(docker, ...command);
      assertEquals({ code, stderr }, { code: 0, stderr: "" });
    }
    docker.start();
    fill(docker, scratch);
    const store = runBeside(docker, scratch, ROUNDS);
    assertEquals(store.own(), ["own"]);
    goesOn(docker);
    await docker.stop();
    assertAlone(store);
    assertEquals([deviceNames(), loopFiles(dir.path)], [[], []]);
  },
);
