/** Veneer beside a Docker daemon that runs containers on devicemapper. */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { storeDir } from "../../support/store_dir.ts";
import { Docker, mountControlGroups, veneerBeside } from "../../peers/docker.ts";
import { assertAlone, fill, goesOn, runBeside, Store } from "../../peers/docker_beside.ts";
import { PROGRAM } from "../../support/commands.ts";
import { IS_LONG, lacksProgram, needs } from "../../support/cases.ts";
import { assertNoDevices, lacking } from "./support.ts";

/** Each takes some seconds in a guest; what could take something from a container comes first. */
const ROUNDS = IS_LONG ? 100 : 10;

const OPTIONS = [
  "dm.basesize=96M",
  "dm.fs=ext4",
  "dm.loopdatasize=1G",
  "dm.loopmetadatasize=8M",
  "dm.override_udev_sync_check=true",
];

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("runc");

/** A container starts and writes while a command reads its layer, and both come to their end. */
async function startsWhileRead(docker: Docker, scratch: string): Promise<void> {
  docker.must("create", "--name", "read", "--network", "none", "built", "/bin/sleep", "3600");
  const id = new Store(docker, scratch).layerOf("read");
  const [program, ...first] = PROGRAM;
  const store = ["--root", docker.root, "--driver", docker.driver];
  const reader = new Deno.Command(program, {
    args: [...first, ...store, "diff", id, "--parent", ""],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = reader.stdout.getReader();
  // It waits for the rest of its tar to be taken.
  let length = (await output.read()).value!.length;
  docker.must("start", "read");
  docker.must("exec", "read", "/bin/sh", "-c", "echo written >/data/read");
  for (let read = await output.read(); !read.done; read = await output.read()) {
    length += read.value.length;
  }
  const said = await new Response(reader.stderr).text();
  assertEquals([(await reader.status).code, said], [0, ""]);
  assert(length > 1 << 20, `a tar of ${length} bytes`);
  for (const again of [false, true]) {
    if (again) docker.must("restart", "--time", "0", "read");
    assertEquals(docker.must("exec", "read", "/bin/cat", "/data/read"), "written");
  }
  docker.must("rm", "--force", "read");
}

needs(
  lacks,
  "docker beside: devicemapper: no command takes anything from containers that run",
  async () => {
    using dir = storeDir();
    mountControlGroups();
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
    await startsWhileRead(docker, scratch);
    const store = runBeside(docker, scratch, ROUNDS);
    assertEquals(store.own(), ["own"]);
    goesOn(docker);
    await docker.stop();
    assertAlone(store);
    assertNoDevices(dir.path);
  },
);
