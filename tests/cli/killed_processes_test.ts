/**
 * Processes that are killed, and a disk that gets full: others go on, and nothing is left over.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
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
  isThere,
  kill,
  start,
  startApply,
  stateOf,
  until,
} from "../support/processes.ts";
import { lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { generator } from "../support/tree_entries.ts";

const lacking = lacksFileSystem("overlay");

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
  const rounds = Deno.env.has("VENEER_TEST_LONG") ? 100 : 5;
  const { stdout, stderr } = store.shell(`
    job() {
      for ((round = 0; round < ${rounds}; round++)); do
        for command in "create $1 --parent base" "mount $1" "umount $1" "rm $1"; do
          timeout --signal=KILL 0.$((RANDOM % 8))$((RANDOM % 9 + 1)) ${program} $command >/dev/null 2>&1
          echo $?
        done
      done
    }
    for i in {1..6}; do job layer-$((i % 3)) 2>/dev/null & done
    wait
  `);
  assertEquals(stderr, "");
  const killed = 128 + 9;
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
  assertNothingLeft(store, ["base"]);
});

// Random kills

const KILLS = Deno.env.has("VENEER_TEST_LONG") ? 250 : 30;
const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);
const ALLOWED: (ErrorCode)[] = ["not found", "already exists", "in use", "failed precondition"];

/** Words of commands, in which `L` is some layer, `K` a snapshot's key and `N` a name; the tar is of two megabytes. */
const KILLED = [
  "create L --parent base",
  "create L --parent L",
  "apply L TAR",
  "apply L TAR",
  "mount L",
  "umount L",
  "diff L --output OUT",
  "diff L --parent= --output OUT",
  "rm L",
  "cleanup",
  "snapshot prepare K --parent=",
  "snapshot prepare K --parent N",
  "snapshot view K --parent N",
  "snapshot mount K",
  "snapshot umount K",
  "snapshot commit N K",
  "snapshot usage",
  "snapshot rm K",
  "snapshot rm N",
  "snapshot cleanup",
];

/** Kills a process, if it has not ended by itself. */
function tryKill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Mounts that no count and no snapshot accounts for, after a cleanup. */
function orphans(store: ImageStore): string[] {
  store.must("cleanup");
  store.must("snapshot", "cleanup");
  const layers = store.json<{ mountPoint?: string; references: number }[]>("ls");
  const counted = layers.filter(({ references }) => references > 0).map((layer) =>
    layer.mountPoint
  );
  const known = [
    ...counted,
    join(store.root, store.driver),
    join(store.root, "snapshots", store.driver),
  ];
  const ofSnapshots = join(store.root, "snapshots", store.driver, "mounts");
  const keys = store.json<{ layer: string }[]>("snapshot", "ls")
    .map(({ layer }) => join(ofSnapshots, layer));
  return store.mountPoints().filter((point) => !known.includes(point) && !keys.includes(point));
}

for (const driver of ["overlay2", "btrfs"] as const) {
  const kind = driver === "btrfs" ? "btrfs" : "ext4";
  needs(
    lacking ?? lacksFileSystem(kind) ?? lacksProgram(`mkfs.${kind}`),
    `killed: ${KILLS} commands on ${driver} at random moments, and the store is fine after each`,
    async () => {
      using store = new ImageStore(driver, kind);
      const random = generator(SEED);
      const tree = store.path("tree"), tar = store.path("layer.tar");
      Deno.mkdirSync(tree);
      for (let i = 0; i < 64; i++) {
        Deno.writeFileSync(join(tree, `${i}`), new Uint8Array(1 << 15).fill(i));
      }
      must("tar", "-C", tree, "-cf", tar, ".");
      store.must("create", "base");
      store.must("apply", "base", tar);
      /** How long each command took last when it was let live, in milliseconds. */
      const lasted = new Map<string, number>();
      let killed = 0, commands = 0;
      for (; killed < KILLS; commands++) {
        const pattern = KILLED[random(KILLED.length)];
        const words = pattern.split(" ").map((word) => {
          if (word === "TAR") return tar;
          if (word === "OUT") return store.path("out.tar");
          return /^[LKN]$/.test(word) ? `${word.toLowerCase()}${random(3)}` : word;
        });
        const limit = (lasted.get(pattern) ?? 600) * (0.3 + random(1000) / 1000);
        const started = performance.now();
        const child = start(store, ...words);
        const timer = setTimeout(() => tryKill(child), limit);
        const { code, stderr } = await end(child);
        clearTimeout(timer);
        const what = `command ${commands} of seed ${SEED}: veneer ${words.join(" ")}`;
        if (code === 128 + 9) killed++;
        else {
          lasted.set(pattern, performance.now() - started);
          const codes = [0, ...ALLOWED.map((code) => EXIT_STATUS[code])] as number[];
          assert(codes.includes(code), `${what}: ${code}: ${stderr}`);
          continue;
        }
        const looks = [["ls"], ["tree"], ["snapshot", "ls"], ["doctor"]];
        for (const ended of await Promise.all(looks.map((look) => end(start(store, ...look))))) {
          assertEquals([ended.code, ended.stderr], [0, ""], `after ${what} was killed`);
        }
        if (killed % 5 === 0) assertEquals(orphans(store), [], `after ${what}`);
      }
      assertEquals(store.must("changes", "base", "--parent=").split("\n").length, 64 + 1);
      console.log(`seed ${SEED}: ${killed} of ${commands} commands killed`);
      store.removeAll();
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
