/** Taking down the mount of a home on itself. */
import { assert } from "@std/assert";
import { mount, umount } from "../../ffi/mount.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { Home } from "../../lib/store/home.ts";
import { releaseHome, withPrivateHome } from "../../lib/store/private_home.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { mountPoints } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";

/** Calls `body` with a home that is mounted on itself. */
async function withMountedHome(body: (home: Home, state: RunState) => void | Promise<void>) {
  using dir = storeDir();
  const home = Home.open(`${dir.path}/root`, "test", IDENTITY), state = new RunState(home);
  withPrivateHome(home, state, () => {});
  assert(mountPoints(dir.path).includes(home.path));
  await body(home, state);
  assert(releaseHome(home, state));
  assert(!mountPoints(dir.path).includes(home.path));
}

/** A process whose working directory is the home, for some seconds. */
const use = (home: Home, seconds: number) =>
  new Deno.Command("sleep", { args: [`${seconds}`], cwd: home.path }).spawn();

Deno.test("private home: what is busy for some milliseconds is waited for", () =>
  withMountedHome(async (home, state) => {
    // On a busy machine a user may end later than is waited for, but not each time.
    for (let tries = 1, isReleased = false; !isReleased; tries++) {
      const child = use(home, 0.01);
      isReleased = releaseHome(home, state);
      await child.status;
      assert(isReleased || tries < 10, "it goes when its user has ended");
    }
    withPrivateHome(home, state, () => {});
  }));

Deno.test("private home: it stays where something is mounted below it or somebody uses it", () =>
  withMountedHome(async (home, state) => {
    const child = use(home, 600);
    try {
      assert(!releaseHome(home, state));
    } finally {
      child.kill("SIGKILL");
      await child.status;
    }
    const below = `${home.path}/below`;
    Deno.mkdirSync(below);
    mount({ source: "tmpfs", target: below, type: "tmpfs" });
    assert(!releaseHome(home, state));
    umount(below);
  }));
