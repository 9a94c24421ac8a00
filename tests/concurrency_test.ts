/**
 * Many processes on one store, and processes that are killed: who loses is told so, and nothing is left over.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lstat } from "../ffi/stat.ts";
import { statfs } from "../ffi/statfs.ts";
import { type ErrorCode, EXIT_STATUS } from "../lib/errors.ts";
import { PROGRAM, refusal, shellWords, TestStore, veneer } from "./cli_support.ts";
import { mountImage } from "./images.ts";
import { lacksFileSystem, lacksProgram, mountPoints, must, needs, tempDir } from "./support.ts";

const lacking = lacksFileSystem("overlay");

/** Names in a directory, sorted. */
const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

const home = (store: TestStore) => join(store.root, "overlay2");

/** Where the run-time state of a store is. */
function stateOf(store: TestStore): string {
  const { devMajor, devMinor, inode } = lstat(home(store));
  return `/run/veneer/${devMajor}.${devMinor}-${inode}`;
}

/** Checks that a store holds some layers and nothing else: no mounts, locks, marks, staged rests or stray links. */
function assertNothingLeft(store: TestStore, layers: readonly string[]): void {
  const sorted = [...layers].sort();
  assertEquals(store.must("ls", "--quiet").split("\n").filter(Boolean), sorted);
  assertEquals(names(home(store)), [".veneer", "l", ...sorted].sort());
  for (const folder of ["staging", "incomplete", "parents"]) {
    assertEquals(names(join(home(store), ".veneer", folder)), [], folder);
  }
  for (const folder of ["layers", "use"]) {
    assertEquals(names(join(stateOf(store), folder)), [], `${stateOf(store)}/${folder}`);
  }
  const links = sorted.map((id) => Deno.readTextFileSync(join(home(store), id, "link"))).sort();
  assertEquals(names(join(home(store), "l")), links);
  for (const name of links) Deno.statSync(join(home(store), "l", name));
  store.must("cleanup");
  assertEquals(mountPoints(store.root), []);
}

/** A command on a store that runs beside the test. */
function start(store: TestStore, ...args: string[]): Deno.ChildProcess {
  const [program, ...first] = PROGRAM;
  return new Deno.Command(program, {
    args: [...first, ...store.options, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** How a command ended that {@linkcode start} started; its input is closed. */
async function end(child: Deno.ChildProcess) {
  if (!child.stdin.locked) await child.stdin.close().catch(() => {});
  const { code, success, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Waits until something is so. */
async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!isSo()) {
    assert(performance.now() < deadline, `waited 30 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const isThere = (path: string) => {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
};

/** Starts an apply and feeds it half of a tar of two megabytes, until the first file of it is in the layer. */
async function startApply(store: TestStore, id: string): Promise<Halfway> {
  const tar = store.tar(`${id}.tar`, { first: "first", second: "2".repeat(2 << 20), third: "3" });
  const bytes = Deno.readFileSync(tar);
  const child = start(store, "apply", id);
  const writer = child.stdin.getWriter();
  await writer.write(bytes.subarray(0, bytes.length / 2));
  await until("the first file", () => isThere(join(home(store), id, "diff/second")));
  return { tar, child, writer, rest: bytes.subarray(bytes.length / 2) };
}

interface Halfway {
  readonly tar: string;
  readonly child: Deno.ChildProcess;
  readonly writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly rest: Uint8Array<ArrayBuffer>;
}

/** Ends the process of an apply as nothing can prevent. */
async function kill({ child, writer }: Halfway): Promise<void> {
  child.kill("SIGKILL");
  await child.output();
  await writer.close().catch(() => {});
}

const SIZE = `${"first".length + (2 << 20) + 1}\n`;

// Two hundred at once

const OWN = 120, FIGHTERS = 72, CONTESTED = 9, LOOKERS = 8;

/**
 * The jobs, all started at once. Each command says who ran what on which layer and how it ended. `own` layers have
 * one job each; the contested ones have eight that all make, mount, write to and remove the same.
 */
const JOBS = `
log=$1
run() { # JOB COMMAND ID ARGS...
  local out status
  out=$(veneer "$2" "$3" "\${@:4}" 2>>"$log.errors"); status=$?
  echo "$1 $2 $3 $status" >>"$log"
  echo "$out"
  return $status
}
write() { # JOB ID
  local root
  root=$(run "$1" mount "$2") || return
  echo "$1" >"$root/by-$1" || echo "$1 write $2 1" >>"$log"
  run "$1" umount "$2" >/dev/null
}
own() {
  run $1 create own-$1 --parent shared-$(($1 % 4)) >/dev/null
  write $1 own-$1
  [ $(($1 % 2)) = 0 ] || run $1 rm own-$1 >/dev/null
}
fight() {
  run $1 create fought-$(($1 % ${CONTESTED})) --parent shared-0 >/dev/null
  write $1 fought-$(($1 % ${CONTESTED}))
  run $1 rm fought-$(($1 % ${CONTESTED})) >/dev/null
}
look() {
  run $1 ls --quiet >/dev/null
  run $1 tree --brief >/dev/null
  run $1 cleanup --json >/dev/null
  run $1 inspect shared-0 >/dev/null
}
for ((i = 0; i < ${OWN}; i++)); do own $i & done
for ((i = 0; i < ${FIGHTERS}; i++)); do fight $((1000 + i)) & done
for ((i = 0; i < ${LOOKERS}; i++)); do look $((2000 + i)) & done
wait
`;

/** The statuses that a command on a contested layer may end with. */
const EXPECTED: Record<string, ErrorCode[]> = {
  create: ["already exists"],
  mount: ["not found"],
  // A layer that one has mounted is there until one unmounts it, whatever the others do.
  umount: [],
  rm: ["not found", "in use"],
};

needs(
  lacking,
  "concurrency: two hundred processes make, mount, change, unmount and remove layers",
  () => {
    using store = new TestStore();
    const shared = ["shared-0", "shared-1", "shared-2", "shared-3"];
    const tar = store.tar("base.tar", { "etc/issue": "base\n" });
    for (const id of shared) {
      store.must("create", id);
      store.must("apply", id, tar);
    }
    const log = store.path("log");
    const { success, stderr } = store.shell(`set -- '${log}'\n${JOBS}`);
    assert(success && stderr === "", stderr);

    const left = new Map<string, number>();
    const ended = new Map<string, number>();
    for (const line of Deno.readTextFileSync(log).trim().split("\n")) {
      const [job, command, id, text] = line.split(" ");
      const status = Number(text);
      ended.set(`${command} ${status}`, (ended.get(`${command} ${status}`) ?? 0) + 1);
      const isContested = Number(job) >= 1000 && Number(job) < 2000;
      const allowed: number[] = isContested
        ? (EXPECTED[command] ?? []).map((code) => EXIT_STATUS[code])
        : [];
      assert(status === 0 || allowed.includes(status), line);
      if (status !== 0) continue;
      if (command === "create") left.set(id, (left.get(id) ?? 0) + 1);
      if (command === "rm") left.set(id, left.get(id)! - 1);
    }
    const errors = Deno.readTextFileSync(`${log}.errors`).split("\n").filter(Boolean);
    const failed = [...ended].filter(([name]) => !name.endsWith(" 0"));
    assertEquals(errors.filter((line) => !line.startsWith("veneer: layer fought-")), []);
    assertEquals(errors.length, failed.reduce((sum, [, count]) => sum + count, 0));

    assertEquals(ended.get("umount 0"), ended.get("mount 0"));
    assertEquals((ended.get("create 0") ?? 0) + (ended.get("create 4") ?? 0), OWN + FIGHTERS);
    for (let i = 0; i < OWN; i++) assertEquals(left.get(`own-${i}`), i % 2 === 0 ? 1 : 0);
    for (let i = 0; i < CONTESTED; i++) assert([0, 1].includes(left.get(`fought-${i}`)!), `${i}`);
    for (let i = 0; i < OWN; i += 2) {
      const diff = join(home(store), `own-${i}`, "diff");
      assertEquals(names(diff), [`by-${i}`]);
      assertEquals(Deno.readTextFileSync(join(diff, `by-${i}`)), `${i}\n`);
    }
    const existing = [...left].filter(([, count]) => count === 1).map(([id]) => id);
    assertNothingLeft(store, [...shared, ...existing]);
  },
);

needs(
  lacking,
  "concurrency: thirty processes mount one layer, and the last of thirty unmounts",
  () => {
    using store = new TestStore();
    store.must("create", "base");
    store.must("create", "app", "--parent", "base");
    const all = (command: string) =>
      store.shell(`for i in {1..30}; do veneer ${command} app & done; wait`);
    const path = join(home(store), "app/merged");
    assertEquals(all("mount").stdout, `${path}\n`.repeat(30));
    assertEquals(store.json<{ references: number }[]>("ls")[0].references, 30);
    assertEquals(mountPoints(path), [path], "mounted once");
    const { stderr } = all("umount");
    assertEquals(stderr, "");
    assertNothingLeft(store, ["app", "base"]);
  },
);

// Transfers

needs(
  lacking,
  "concurrency: of two applies to a layer one wins, and the other names it",
  async () => {
    using store = new TestStore();
    store.must("create", "base");
    const { tar, child, writer, rest } = await startApply(store, "base");
    for (const command of [["apply", "base", tar], ["rm", "base"], ["diff", "base"]]) {
      const message = refusal("in use", store.run(...command));
      assertStringIncludes(message, `layer base is being transferred by`);
      assertStringIncludes(message, `${child.pid}`);
    }
    refusal("failed precondition", store.run("mount", "base"));
    await writer.write(rest);
    await writer.close();
    assertEquals(await end(child), { code: 0, success: true, stdout: SIZE, stderr: "" });
    assertEquals(store.must("changes", "base"), "A /first\nA /second\nA /third\n");
    assertNothingLeft(store, ["base"]);
  },
);

needs(lacking, "concurrency: a layer that is read is neither removed nor filled", async () => {
  using store = new TestStore();
  store.must("create", "base");
  const tar = store.tar("base.tar", { first: "1".repeat(4 << 20), second: "2" });
  store.must("apply", "base", tar);
  const child = start(store, "diff", "base");
  const reader = child.stdout.getReader();
  await reader.read();
  for (const command of [["rm", "base"], ["apply", "base", tar]]) {
    const message = refusal("in use", store.run(...command));
    assertStringIncludes(message, `${child.pid}`);
  }
  const other = store.path("other.tar");
  store.must("diff", "base", "--output", other);
  while (!(await reader.read()).done);
  assertEquals((await child.status).code, 0);
  await Promise.all([child.stdin.close(), child.stderr.cancel()]);
  store.must("rm", "base");
  assertNothingLeft(store, []);
});

// Processes that are killed

needs(
  lacking,
  "concurrency: an apply that was killed leaves a layer that nothing uses",
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
  "concurrency: what a killed process had locked is free at once",
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

needs(lacking, "concurrency: commands killed at any moment keep no other from working", () => {
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

// A full disk

needs(
  lacking ?? lacksProgram("mkfs.ext4"),
  "concurrency: a disk full midway gives its space back",
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
