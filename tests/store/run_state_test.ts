import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { close, O_DIRECTORY, O_RDONLY, open } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { mount, MS_BIND, umount } from "../../ffi/mount.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { Home } from "../../lib/store/home.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { mountsBeside } from "../../lib/store/run_root.ts";
import { pruneRunStates } from "../../lib/store/prune_run_states.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { UNUSED } from "../../lib/store/mount_record.ts";

const WORKER = new URL("./run_state_worker.ts", import.meta.url).pathname;

/** Runs `use` on the state of a new home, and leaves nothing of either. */
async function withState(use: (state: RunState, root: string) => void | Promise<void>) {
  const root = Deno.makeTempDirSync({ dir: Deno.env.get("VENEER_TEST_DIR") });
  const home = Home.open(root, "test", IDENTITY);
  try {
    await use(new RunState(home), root);
  } finally {
    Deno.removeSync(root, { recursive: true });
    Deno.removeSync(runDirectory(home), { recursive: true });
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Told of nothing: all that there is can be removed. */
const refuse = (message: string) => {
  throw new Error(message);
};

const runDirectory = (home: Home) => `/run/veneer/${home.device.replace(":", ".")}-${home.inode}`;

const spawn = (root: string, rounds: number, final = "") =>
  new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--quiet", WORKER, root, String(rounds), final],
    stdout: "piped",
  }).spawn();

Deno.test("run state: counts of many processes add up", () =>
  withState(async (state, root) => {
    const statuses = await Promise.all([1, 2, 3, 4].map(() => spawn(root, 500).output()));
    assert(statuses.every(({ success }) => success));
    using lock = state.lockLayer("layer");
    assertEquals(lock.references.count, 2000);
    lock.references = { ...UNUSED, count: 0 };
  }));

Deno.test("run state: a layer without references leaves no file behind", () =>
  withState((state, root) => {
    {
      using lock = state.lockLayer("layer");
      lock.references = { ...UNUSED, count: 2 };
    }
    assertEquals(state.references("layer").count, 2);
    {
      using lock = state.lockLayer("layer");
      lock.references = { ...UNUSED, count: 0 };
    }
    const home = Home.open(root, "test", IDENTITY);
    assertEquals([...Deno.readDirSync(`${runDirectory(home)}/layers`)], []);
    {
      using _one = state.use("layer", "shared");
      using _two = state.use("layer", "shared");
    }
    assertEquals([...Deno.readDirSync(`${runDirectory(home)}/use`)], []);
  }));

Deno.test("run state: what a killed process held is free, and until then its holder is named", () =>
  withState(async (state, root) => {
    const child = spawn(root, 0, "hold");
    const reader = child.stdout.getReader();
    await reader.read();
    assertEquals(state.tryLockLayer("layer"), undefined);
    const error = assertThrows(() => state.use("layer", "shared"), VeneerError);
    assertEquals(error.code, "in use");
    assertStringIncludes(error.message, `(pid ${child.pid})`);
    child.kill("SIGKILL");
    await reader.cancel();
    await child.status;
    using lock = state.tryLockLayer("layer");
    assert(lock !== undefined);
    using _use = state.use("layer", "exclusive");
  }));

Deno.test("run state: shared users exclude an exclusive one and not each other", () =>
  withState((state) => {
    using _one = state.use("layer", "shared");
    using _two = state.use("layer", "shared");
    assertThrows(() => state.use("layer", "exclusive"), VeneerError, "being transferred");
  }));

Deno.test("run state: another home that got the same inode does not inherit counts", () =>
  withState((state, root) => {
    {
      using lock = state.lockLayer("layer");
      lock.references = { ...UNUSED, count: 7 };
    }
    const home = Home.open(root, "test", IDENTITY);
    Deno.writeTextFileSync(`${runDirectory(home)}/birth`, "12345");
    assertEquals(new RunState(home).references("layer").count, 0);
  }));

Deno.test("run state: a lock of an earlier home's snapshots does not stand where mount points go", () =>
  withState((_state, root) => {
    const home = Home.open(root, "test", IDENTITY);
    Deno.writeTextFileSync(`${runDirectory(home)}/mounts`, "");
    Deno.writeTextFileSync(`${runDirectory(home)}/birth`, "12345");
    new RunState(home);
    assert(Deno.statSync(mountsBeside(home).text).isDirectory);
  }));

Deno.test("run state: what is remembered of a home that is gone is forgotten, of others it is not", () =>
  withState((state, root) => {
    const gone = Deno.makeTempDirSync({ dir: Deno.env.get("VENEER_TEST_DIR") });
    const home = Home.open(gone, "test", IDENTITY);
    new RunState(home);
    Deno.removeSync(gone, { recursive: true });
    {
      using lock = state.lockLayer("layer");
      lock.references = { ...UNUSED, count: 1 };
    }
    pruneRunStates(refuse);
    assertThrows(() => Deno.statSync(runDirectory(home)), Deno.errors.NotFound);
    assertEquals(state.references("layer").count, 1);
    assert(Deno.statSync(runDirectory(Home.open(root, "test", IDENTITY))).isDirectory);
  }));

Deno.test("run state: what is remembered of a home that only another mount namespace sees stays", () =>
  withState((_state, root) => {
    const home = Home.open(root, "elsewhere", IDENTITY);
    new RunState(home);
    const directory = runDirectory(home);
    const [birth, , path] = Deno.readTextFileSync(`${directory}/birth`).split(" ");
    Deno.writeTextFileSync(`${directory}/birth`, `${birth} 1 ${path}`);
    Deno.removeSync(home.path, { recursive: true });
    pruneRunStates(refuse);
    assert(Deno.statSync(directory).isDirectory);
    Deno.removeSync(directory, { recursive: true });
  }));

Deno.test("run state: many may forget the same homes at once", () =>
  withState(async (_state, root) => {
    const gone = Array.from({ length: 200 }, () => {
      const path = Deno.makeTempDirSync({ dir: Deno.env.get("VENEER_TEST_DIR") });
      return { path, home: Home.open(path, "test", IDENTITY) };
    });
    for (const { home } of gone) new RunState(home);
    for (const { path } of gone) Deno.removeSync(path, { recursive: true });
    const outputs = await Promise.all([1, 2, 3, 4].map(() => spawn(root, 0, "prune").output()));
    assert(outputs.every(({ success }) => success));
    for (const { home } of gone) {
      assertThrows(() => Deno.statSync(runDirectory(home)), Deno.errors.NotFound);
    }
  }));

Deno.test("run state: a home is not opened while others are forgotten", () =>
  withState(async (_state, root) => {
    const directory = runDirectory(Home.open(root, "test", IDENTITY));
    const fd = open("/run/veneer", O_RDONLY | O_DIRECTORY);
    while (!tryLock(fd, "exclusive")) await pause(1);
    const worker = spawn(root, 1);
    await Promise.race([worker.status, pause(1000)]);
    Deno.removeSync(directory, { recursive: true }); // Taken for that of a home before.
    close(fd);
    assert((await worker.output()).success);
    assert(Deno.statSync(`${directory}/birth`).isFile);
  }));

Deno.test("run state: a second path to a home finds the same counts", () =>
  withState((state, root) => {
    {
      using lock = state.lockLayer("layer");
      lock.references = { ...UNUSED, count: 3 };
    }
    const other = Deno.makeTempDirSync({ dir: Deno.env.get("VENEER_TEST_DIR") });
    mount({ source: root, target: other, flags: MS_BIND });
    try {
      const second = new RunState(Home.open(other, "test", IDENTITY));
      assertEquals(second.references("layer").count, 3);
      using _lock = second.lockLayer("layer");
      assertEquals(state.tryLockLayer("layer"), undefined);
    } finally {
      umount(other);
      Deno.removeSync(other);
    }
  }));
