/**
 * Killing a driver with SIGKILL before each system call of an operation, and looking at what is left.
 *
 * A first run is traced to learn which calls the operation makes; then each of them is a point at which a
 * fresh process is killed, on a fresh store. `make test` takes a sample of the points, every one of them is
 * taken where `VENEER_TEST_LONG` is set.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openDriver } from "../../drivers/registry.ts";
import type { GraphDriver } from "../../lib/graph_driver.ts";
import { IDENTITY } from "../../lib/id_maps.ts";
import { lacksProgram, mountPoints, needs, type TempDir, TEST_FS } from "../support.ts";
import { apply, fill, treeOf } from "./layers.ts";
import { storeDir } from "./store_dir.ts";
import { END_MARK } from "./kill_child.ts";
import { tarOf } from "./trees.ts";

/** Calls of the runtime, which come and go with its threads and its memory, and change nothing on disk. */
const RUNTIME =
  /^(futex|m(map|unmap|advise|protect|remap)|brk|sched_|epoll_|clock_|rt_sig|getrandom|membarrier|rseq|prctl|sigaltstack|exit|restart_syscall|getpid|gettid|tgkill|nanosleep|\+|-)/;

/** How many points of an operation `make test` takes. */
const SAMPLE = 5;

const OPERATIONS = ["create", "get", "put", "apply", "diff", "remove", "cleanup"] as const;
type Operation = typeof OPERATIONS[number];

/** What of a driver is killed where not all of it can run. */
export interface KillOptions {
  /** Begins the cases' names; the driver's name where left out. */
  readonly title?: string;
  readonly operations?: readonly Operation[];
  /** A layer's whole tree, as far as it can be had. */
  readonly tree?: typeof treeOf;
  /** Makes a root ready for a store. */
  readonly makeRoot?: (root: string) => void;
}

/** A driver, and how it is treated. */
interface Victim extends Required<KillOptions> {
  readonly driver: string;
  readonly lost: (home: string) => string[];
}

/** A point: before the `count`th call of that name. */
interface Point {
  readonly syscall: string;
  readonly count: number;
}

/** Registers the kill cases of a driver; `lost` names what else must not be left, if anything is. */
export function killCases(
  driver: string,
  lacking: string | undefined,
  lost: (home: string) => string[],
  options: KillOptions = {},
): void {
  const victim: Victim = {
    driver,
    lost,
    title: driver,
    operations: OPERATIONS,
    tree: treeOf,
    makeRoot: () => {},
    ...options,
  };
  for (const operation of victim.operations) {
    needs(
      lacking ?? lacksProgram("strace") ??
        (TEST_FS.includes("+") ? "it ran on the machine's own kernel" : undefined),
      `${victim.title}: killed before every system call of ${operation}`,
      async () => {
        const points = await trace(victim, operation);
        assert(points.length >= 10, `a trace of ${points.length} calls`);
        const chosen = sample(points);
        let survived = 0;
        for (const point of chosen) {
          if (!await killNear(victim, operation, point)) survived++;
        }
        // How often the mount table is read varies with what else is mounted on the machine.
        assert(survived <= chosen.length / 5, `${survived} of ${chosen.length} were not killed`);
      },
    );
  }
}

/** How many calls before a point that was not reached the process is killed instead. */
const NEAR = 5;

/**
 * Kills a process before a call, and looks at what it left; where it ended without coming to that call, another
 * before one of the calls of that name just before. Returns whether any was killed.
 */
async function killNear(
  victim: Victim,
  operation: Operation,
  { syscall, count }: Point,
): Promise<boolean> {
  for (let at = count; at > Math.max(0, count - NEAR); at--) {
    using dir = storeDir();
    const store = prepare(dir, victim);
    const killed = await runChild(dir, victim.driver, operation, injection({ syscall, count: at }));
    try {
      verify(dir, victim, operation, store);
    } catch (error) {
      throw new Error(`${operation} killed before ${syscall} ${at}`, { cause: error });
    }
    if (killed) return true;
  }
  return false;
}

function sample(points: Point[]): Point[] {
  if (Deno.env.has("VENEER_TEST_LONG") || points.length <= SAMPLE) return points;
  // Spread over the operation, others at each run.
  const step = points.length / SAMPLE;
  return Array.from({ length: SAMPLE }, (_, i) => points[Math.floor((i + Math.random()) * step)]);
}

const injection = ({ syscall, count }: Point) => `inject=${syscall}:signal=KILL:when=${count}`;

/** What a store is before the operation: its trees. */
interface Before {
  readonly base: Map<string, string>;
  readonly layer: Map<string, string>;
  readonly applied: Map<string, string>;
}

const openStore = (dir: TempDir, driver: string): GraphDriver =>
  openDriver({
    root: join(dir.path, "root"),
    driver,
    options: [],
    idMaps: IDENTITY,
    warn: () => {},
  });

/** A base with files, a layer on it with changes (none, for `apply`), and what the tar makes of that. */
function prepare(dir: TempDir, { driver: name, tree: treeOf, makeRoot }: Victim): Before {
  makeRoot(join(dir.path, "root"));
  const driver = openStore(dir, name);
  fill(driver, "bottom", (root) => {
    Deno.mkdirSync(`${root}/directory`);
    for (const file of ["kept", "removed", "directory/inside"]) {
      Deno.writeTextFileSync(`${root}/${file}`, file);
    }
  });
  const tree = join(dir.path, "tree");
  Deno.mkdirSync(join(tree, "directory/new"), { recursive: true });
  Deno.writeTextFileSync(join(tree, "added"), "added".repeat(20_000));
  Deno.writeTextFileSync(join(tree, "directory/.wh.inside"), "");
  Deno.writeTextFileSync(join(tree, ".wh.removed"), "");
  const tar = tarOf(tree, join(dir.path, "layer.tar"));
  driver.create("layer", { parent: "bottom" });
  driver.create("applied", { parent: "bottom" });
  apply(driver, "applied", tar);
  const before = {
    base: treeOf(driver, "bottom"),
    layer: treeOf(driver, "layer"),
    applied: treeOf(driver, "applied"),
  };
  driver.remove("applied");
  driver.cleanup();
  return before;
}

/** What must hold whatever was killed. */
function verify(
  dir: TempDir,
  { driver: name, operations, tree: treeOf, lost }: Victim,
  operation: Operation,
  before: Before,
): void {
  const driver = openStore(dir, name);
  assertEquals(treeOf(driver, "bottom"), before.base);
  const ids = driver.layers().map(({ id }) => id);
  const optional = operation === "create" ? ["new"] : operation === "remove" ? ["layer"] : [];
  for (const id of ["bottom", "layer"]) assert(ids.includes(id) || optional.includes(id), id);
  for (const id of ids) assert(["bottom", "layer"].includes(id) || optional.includes(id), id);

  for (const { id, incomplete } of driver.layers()) {
    if (incomplete) {
      assertEquals([operation, id], ["apply", "layer"]);
      apply(driver, id, join(dir.path, "layer.tar"));
      assertEquals(treeOf(driver, id), before.applied);
    } else if (id !== "bottom") {
      const tree = treeOf(driver, id);
      const applied = operation === "apply" && tree.has("/added");
      assertEquals(tree, applied ? before.applied : before.layer);
    }
  }
  // A count whose process was killed stays while its mount does: what `veneer umount` takes away.
  while (driver.exists("layer") && driver.layer("layer").references > 0) driver.put("layer");
  driver.cleanup();
  assertEquals(mountPoints(dir.path), []);
  assertEquals(lost(driver.home), []);
  for (const id of ["new", "layer", "bottom"]) {
    if (driver.exists(id)) driver.remove(id);
  }
  assertEquals(driver.layers(), []);
  driver.create("bottom");
  driver.create("new", { parent: "bottom" });
  if (operations.includes("get")) {
    driver.get("new");
    driver.put("new");
  }
  driver.cleanup();
  assertEquals(lost(driver.home), []);
}

/** The calls that the operation makes, in order. */
async function trace(victim: Victim, operation: Operation): Promise<Point[]> {
  using dir = storeDir();
  prepare(dir, victim);
  const log = join(dir.path, "trace");
  const killed = await runChild(dir, victim.driver, operation, "trace=all", log);
  assert(!killed, "the first run is not killed");
  const points: Point[] = [];
  const counts = new Map<string, number>();
  for (const line of Deno.readTextFileSync(log).split("\n")) {
    if (line.includes(END_MARK)) return points;
    const syscall = /^(\w+)\(/.exec(line)?.[1];
    if (syscall === undefined) continue;
    const count = (counts.get(syscall) ?? 0) + 1;
    counts.set(syscall, count);
    if (!RUNTIME.test(syscall)) points.push({ syscall, count });
  }
  throw new Error(`the trace of ${operation} has no end`);
}

/** Runs the operation in a process of its own under strace; whether it was killed. */
async function runChild(
  dir: TempDir,
  driver: string,
  operation: Operation,
  expression: string,
  log = "/dev/null",
): Promise<boolean> {
  const script = join(import.meta.dirname!, "kill_child.ts");
  const root = join(dir.path, "root");
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-all",
      "--no-check",
      script,
      root,
      driver,
      operation,
      `${dir.path}/layer.tar`,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const stdout = child.stdout.getReader();
  const { value } = await stdout.read();
  if (value === undefined) throw new Error(`the process did not start: ${await stderr}`);
  const strace = new Deno.Command("strace", {
    args: ["-o", log, "-e", expression, "-p", String(child.pid)],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const tracing = strace.stderr.getReader();
  await tracing.read(); // It says when it is attached.
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array(1)).catch((error) => {
    // A call of the waiting itself may have been the one to be killed before.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  });
  const { success, signal } = await child.status;
  await strace.status;
  await Promise.all([writer.close().catch(() => {}), stdout.cancel(), tracing.cancel()]);
  if (!success && signal !== "SIGKILL") throw new Error(`the process failed: ${await stderr}`);
  await stderr;
  return signal === "SIGKILL";
}
