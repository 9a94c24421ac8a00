/**
 * Processes that are killed, and a disk that gets full: others go on, and nothing is left over.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { O_RDWR, open, withFd } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { lstat } from "../../ffi/stat.ts";
import { statfs } from "../../ffi/statfs.ts";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { PROGRAM, refusal, shellWords, TestStore, veneer } from "../support/commands.ts";
import { mountImage } from "../runner/images.ts";
import {
  assertNothingLeft,
  end,
  ImageStore,
  kill,
  start,
  startApply,
  stateOf,
  until,
} from "../support/processes.ts";
import { IS_LONG, lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { killAtRandom } from "../support/random_kills.ts";
import { isThere, names } from "../support/files.ts";

const lacking = lacksFileSystem("overlay");

/** How many commands are killed at random moments, for each driver. */
const KILLS = IS_LONG ? 250 : 12;

needs(
  lacking,
  "killed: an apply that was killed leaves a layer that nothing uses",
  async () => {
    using store = new TestStore();
    store.must("create", "base");
    store.must("create", "app", "--parent", "base");
    const halfway = await startApply(store, "app");
    await kill(halfway);
    for (
      const command of [["mount", "app"], ["create", "child", "--parent", "app"], ["diff", "app"]]
    ) {
      const message = refusal("failed precondition", store.run(...command));
      assertStringIncludes(message, "layer app is incomplete");
    }
    const [app] = store.json<{ id: string; incomplete: boolean }[]>("ls");
    assertEquals([app.id, app.incomplete], ["app", true]);

    const other = store.tar("other.tar", { other: "12345" });
    assertEquals(store.must("apply", "app", other), "5\n");
    assertEquals(store.must("changes", "app"), "A /other\n", "it started over");
    store.must("mount", "app");
    store.must("umount", "app");
    store.must("rm", "app");

    store.must("create", "app", "--parent", "base");
    await kill(await startApply(store, "app"));
    store.must("rm", "app");
    assertNothingLeft(store, ["base"]);
  },
);

needs(
  lacking ?? lacksProgram("flock"),
  "killed: what a killed process had locked is free at once",
  async () => {
    using store = new TestStore();
    store.must("create", "base");
    const directory = stateOf(store);
    for (const [lock, id] of [["store", "a"], ["layers/b", "b"]]) {
      const held = join(directory, lock);
      const holder = new Deno.Command("flock", { args: ["--no-fork", held, "sleep", "60"] })
        .spawn();
      await until("the holder's lock", () =>
        isThere(held) &&
        Deno.readTextFileSync("/proc/locks").includes(`:${lstat(held).inode} `));
      const child = start(store, "create", id, "--parent", "base");
      const ended = end(child);
      const first = await Promise.race([
        ended,
        new Promise((resolve) => setTimeout(() => resolve("waits"), 1000)),
      ]);
      assertEquals(first, "waits");
      holder.kill("SIGKILL");
      await holder.status;
      assertEquals((await ended).code, 0);
    }
    assertNothingLeft(store, ["a", "b", "base"]);
  },
);

needs(lacking, "killed: commands killed at any moment keep no other from working", () => {
  using store = new TestStore();
  store.must("create", "base");
  const program = shellWords([...PROGRAM, ...store.options]);
  const rounds = IS_LONG ? 100 : 5;
  const killed = 128 + 9;
  const { stdout, stderr } = store.shell(`
    job() {
      local longest=800 after delay status
      for ((round = 0; round < ${rounds}; round++)); do
        for command in "create $1 --parent base" "mount $1" "umount $1" "rm $1"; do
          after=$((RANDOM % longest + 1))
          printf -v delay %d.%03d $((after / 1000)) $((after % 1000))
          timeout --signal=KILL $delay ${program} $command >/dev/null 2>&1
          status=$?
          echo $status
          # So about half of the commands are killed, on a fast machine and on a slow one.
          ((longest = status == ${killed} ? longest * 3 / 2 : longest * 2 / 3 + 1))
        done
      done
    }
    for i in {1..6}; do job layer-$((i % 3)) 2>/dev/null & done
    wait
  `);
  assertEquals(stderr, "");
  const codes: ErrorCode[] = ["not found", "already exists", "in use", "failed precondition"];
  const expected = [0, killed, ...codes.map((code) => EXIT_STATUS[code])];
  const ended = stdout.trim().split("\n").map(Number);
  assertEquals(ended.filter((status) => !expected.includes(status)), []);
  const count = ended.filter((status) => status === killed).length;
  assert(count > 0 && count < ended.length, `${count} of ${ended.length} were killed`);
  for (const { id } of store.json<{ id: string }[]>("ls").filter(({ id }) => id !== "base")) {
    store.must("mount", id);
    while (store.json<{ references: number }>("umount", id).references > 0);
    store.must("rm", id);
  }
  // A process that is killed once it has the lock of a layer, before it makes that, leaves the file.
  store.must("cleanup");
  assertNothingLeft(store, ["base"]);
});

needs(lacking, "killed: cleanup removes locks that no process has and that hold nothing", () => {
  using store = new TestStore();
  store.must("create", "base");
  store.must("mount", "base");
  const directory = join(stateOf(store), "layers");
  for (const id of ["dead", "held"]) Deno.writeTextFileSync(join(directory, id), "");
  withFd(open(join(directory, "held"), O_RDWR), (fd) => {
    assert(tryLock(fd, "exclusive"));
    store.must("cleanup");
    assertEquals(names(directory).sort(), ["base", "held"]);
  });
  store.must("umount", "base");
  store.must("cleanup");
  assertEquals(names(directory), []);
});

for (const driver of ["overlay2", "btrfs"] as const) {
  const kind = driver === "btrfs" ? "btrfs" : "ext4";
  needs(
    lacking ?? lacksFileSystem(kind) ?? lacksProgram(`mkfs.${kind}`),
    `killed: ${KILLS} commands on ${driver} at random moments, and the store is fine after each`,
    async () => {
      using store = new ImageStore(driver, kind);
      await killAtRandom(store, KILLS);
    },
  );
}

// A full disk

needs(
  lacking ?? lacksProgram("mkfs.ext4"),
  "a disk full midway gives its space back",
  () => {
    using dir = tempDir("full-");
    using image = mountImage("ext4", dir.path, 48 << 20);
    const on = (...args: string[]) => veneer("--root", join(image.mountPoint, "store"), ...args);
    const done = (...args: string[]) => {
      const { code, stdout, stderr } = on(...args);
      assertEquals({ code, stderr }, { code: 0, stderr: "" });
      return stdout;
    };
    const free = () => {
      must("sync", "--file-system", image.mountPoint);
      return statfs(image.mountPoint).availableBytes;
    };
    const tree = join(dir.path, "tree"), tar = join(dir.path, "large.tar");
    Deno.mkdirSync(tree);
    for (let i = 0; i < 64; i++) Deno.writeFileSync(join(tree, `${i}`), new Uint8Array(1 << 20));
    must("tar", "-C", tree, "-cf", tar, ".");

    done("create", "base");
    const before = free();
    for (let round = 0; round < 2; round++) {
      const message = refusal("limit exceeded", on("apply", "base", tar));
      assertStringIncludes(message, "layer base is incomplete: make room");
      assert(free() > before - (1 << 20), `${before} bytes were free, now ${free()}`);
      refusal("failed precondition", on("mount", "base"));
    }
    const small = join(dir.path, "small.tar");
    must("tar", "-C", tree, "-cf", small, "1", "2");
    assertEquals(done("apply", "base", small), `${2 << 20}\n`);
    done("rm", "base");
    done("cleanup");
  },
);
