/** Veneer beside a Docker daemon at work, on the drivers that this machine's kernel has. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { mountImage } from "../runner/images.ts";
import {
  IS_LONG,
  lacksFileSystem,
  lacksProgram,
  mountPoints,
  needs,
  run,
  tempDir,
} from "../support/cases.ts";
import { Docker, type Driver, lacksDocker, veneerBeside } from "./docker.ts";
import { assertAlone, fill, goesOn, runBeside, Store } from "./docker_beside.ts";

const lacking = await lacksDocker();
const ROUNDS = IS_LONG ? 100 : 30;

/** A daemon with containers, on a file system that its driver works on. */
async function withDocker(
  driver: Driver,
  body: (docker: Docker, scratch: string) => void | Promise<void>,
): Promise<void> {
  using dir = tempDir("beside-");
  using image = driver === "btrfs" ? mountImage("btrfs", dir.path, 4 * 2 ** 30) : undefined;
  const directory = image?.mountPoint ?? dir.path;
  const scratch = join(dir.path, "scratch");
  Deno.mkdirSync(scratch);
  await using docker = new Docker(directory, driver);
  docker.start();
  await body(docker, scratch);
}

const lacks = (driver: Driver) =>
  lacking ??
    (driver === "btrfs" ? lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs") : undefined);

for (const driver of ["overlay2", "btrfs"] as const) {
  needs(
    lacks(driver),
    `docker beside: ${driver}: no command takes anything from containers that run`,
    () =>
      withDocker(driver, async (docker, scratch) => {
        fill(docker, scratch);
        const store = runBeside(docker, scratch, ROUNDS);
        store.removeOwn();
        store.must("cleanup");
        assertEquals(store.own(), []);
        goesOn(docker);
        await docker.stop();
        assertAlone(store);
      }),
  );
}

needs(
  lacks("overlay2"),
  "docker beside: what Veneer mounts is never counted by the daemon, and found when that is gone",
  () =>
    withDocker("overlay2", async (docker, scratch) => {
      fill(docker, scratch);
      const store = new Store(docker, scratch);
      const init = `${store.layerOf("one")}-init`;
      const usual = join(docker.root, "overlay2", init, "merged");
      const diff = docker.must("diff", "one");
      for (const mount of [["mount", init], ["mount", init, "--read-only"]]) {
        const path = store.must(...mount).trimEnd();
        assert(path !== usual && mountPoints(path).includes(path), path);
        assertEquals(docker.must("diff", "one"), diff);
        store.must("umount", init);
        assertEquals(docker.must("diff", "one"), diff);
        assertEquals(run("test", "-e", path).success, false);
      }
      const path = store.must("mount", init).trimEnd();
      await docker.stop();
      assertEquals(store.must("mount", init).trimEnd(), path);
      for (let left = 2; left > 0; left--) store.must("umount", init);
      assertEquals(run("test", "-e", path).success, false);
      // Without the daemon the place is Docker's again.
      assertEquals(store.must("mount", init).trimEnd(), usual);
      store.must("umount", init);
    }),
);

needs(
  lacks("overlay2"),
  "docker beside: a home that is released and taken again hides no container's root",
  () =>
    withDocker("overlay2", async (docker, scratch) => {
      // The home is a private mount of Veneer's before the daemon has one.
      await docker.stop();
      const veneerMust = (...args: string[]) => {
        const { code, stdout, stderr } = veneerBeside(docker, ...args);
        assertEquals({ code, stderr }, { code: 0, stderr: "" }, `veneer ${args.join(" ")}`);
        return stdout;
      };
      for (const id of ["below", "own"]) {
        veneerMust("create", id, ...(id === "own" ? ["--parent", "below"] : []));
      }
      veneerMust("mount", "own");
      veneerMust("umount", "own");
      docker.start();
      veneerMust("cleanup");
      fill(docker, scratch);
      veneerMust("mount", "own");
      docker.must("cp", "one:/data/one", join(scratch, "copied"));
      assertEquals(Deno.readTextFileSync(join(scratch, "copied")), "of one\n");
      veneerMust("umount", "own");
      veneerMust("cleanup");
      goesOn(docker);
      veneerMust("rm", "own", "below");
      await docker.stop();
      veneerMust("cleanup");
      assertEquals(mountPoints(docker.root), []);
    }),
);
