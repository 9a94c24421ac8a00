/**
 * Veneer beside a daemon at work: the commands, what each may end with, and how the daemon's
 * containers are looked at. Cases for any driver that both have.
 *
 * Commands and layers are drawn by a generator; `VENEER_TEST_SEED` sets its seed. With
 * `VENEER_TEST_LONG` the table of commands and the statuses they ended with is printed, too.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { IS_LONG, mountPoints, must, type Ran } from "../support/cases.ts";
import { randomOf } from "../support/random.ts";
import { type Docker, type Driver, makeSystem, parentsByDocker, veneerBeside } from "./docker.ts";
import { namesIn } from "./trees.ts";

const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);

/** What a layer is to Docker, and so what a command may do with it. */
type Kind = "running" | "init" | "image" | "own" | "unknown" | "store";

/** How a command on layers of a kind may end: codes of refusals, and `"ok"`. */
type Endings = Partial<Record<Kind, readonly (ErrorCode | "ok")[]>>;

/** A command, with the words after it for a layer. */
interface Command {
  readonly name: string;
  readonly args: (id: string, store: Store) => string[];
  readonly endings: Endings;
}

const READS: Endings = {
  running: ["ok"],
  init: ["ok"],
  image: ["ok"],
  own: ["ok"],
  unknown: ["not found"],
};
const STORE: Endings = { store: ["ok"] };

/** Of a layer of Docker's that has no record of its parent, which must be named. */
const parentOf = (id: string, { driver, parents }: Store) =>
  driver === "overlay2" ? [] : ["--parent", parents[id] ?? ""];

/** Every command on layers. */
const COMMANDS: readonly Command[] = [
  { name: "status", args: () => [], endings: STORE },
  { name: "doctor", args: () => [], endings: STORE },
  { name: "ls", args: () => [], endings: STORE },
  { name: "tree", args: () => [], endings: STORE },
  { name: "cleanup", args: () => [], endings: STORE },
  { name: "inspect", args: (id) => [id], endings: READS },
  { name: "exists", args: (id) => [id], endings: READS },
  { name: "changes", args: (id, store) => [id, ...parentOf(id, store)], endings: READS },
  { name: "diffsize", args: (id, store) => [id, ...parentOf(id, store)], endings: READS },
  {
    name: "diff",
    args: (id, store) => [id, ...parentOf(id, store), "--output", store.tar],
    endings: READS,
  },
  {
    name: "diff --parent ''",
    args: (id, store) => [id, "--parent", "", "--output", store.tar],
    endings: READS,
  },
  {
    name: "create",
    args: (id) => [id],
    endings: {
      running: ["already exists"],
      init: ["already exists"],
      image: ["already exists"],
      own: ["already exists"],
    },
  },
  {
    name: "create --parent",
    args: (id, store) => [`own-${store.made++}`, "--parent", id],
    endings: {
      running: ["ok", "in use"],
      init: ["ok", "in use"],
      image: ["ok"],
      own: ["ok"],
      unknown: ["not found"],
    },
  },
  {
    name: "mount",
    args: (id) => [id],
    endings: {
      // A subvolume is no mount: two may write to it, as to any directory.
      running: ["ok", "in use"],
      init: ["ok", "in use"],
      image: ["ok", "in use"],
      own: ["ok", "in use"],
      unknown: ["not found"],
    },
  },
  {
    name: "mount --read-only",
    args: (id) => [id, "--read-only"],
    endings: {
      running: ["ok", "in use"],
      init: ["ok", "in use"],
      image: ["ok", "in use"],
      own: ["ok", "in use"],
      unknown: ["not found"],
    },
  },
  {
    name: "umount",
    args: (id) => [id],
    endings: {
      // What Veneer mounted read-only beside the container is its own to unmount.
      running: ["ok", "in use", "failed precondition"],
      init: ["ok", "in use", "failed precondition"],
      image: ["ok", "in use", "failed precondition"],
      own: ["ok", "failed precondition"],
      unknown: ["not found"],
    },
  },
  {
    name: "apply",
    args: (id, store) => [id, store.applied, ...parentOf(id, store)],
    endings: {
      running: ["in use"],
      init: ["in use"],
      image: ["in use"],
      own: ["ok", "in use"],
      unknown: ["not found"],
    },
  },
  {
    name: "rm",
    args: (id) => [id],
    endings: {
      running: ["in use"],
      init: ["in use"],
      image: ["in use"],
      own: ["ok", "in use"],
      unknown: ["not found"],
    },
  },
];

/** Every command with every kind of layer that it is for. */
const PAIRS = COMMANDS.flatMap((command) =>
  (Object.keys(command.endings) as Kind[]).map((kind) => [command, kind] as const)
);

/**
 * Commands that want a store to themselves if a daemon of Docker's keeps its state in memory:
 * devicemapper's.
 */
const WRITES = /^(cleanup|create|create --parent|mount|mount --read-only|apply|rm)$/;

/** How a command on a kind of layer may end. */
function endingsOf({ name, endings }: Command, kind: Kind, driver: Driver) {
  if (driver !== "devicemapper" || !WRITES.test(name)) return endings[kind]!;
  return kind === "unknown" ? ["in use", "not found"] as const : ["in use"] as const;
}

/**
 * What could take something from a container: tried first, in any order, so that a short run has
 * all of it.
 */
const DANGERS =
  /^(cleanup store|(mount|umount|apply|rm|create --parent) running|(apply|rm) (init|image))$/;

/** A daemon, its two containers, and a command line that works on the same store. */
export class Store {
  readonly tar: string;
  readonly applied: string;
  /** Parents of Docker's layers, by Docker. */
  readonly parents: Readonly<Record<string, string>>;
  readonly #ids: Record<Kind, string[]>;
  /** What `docker diff` says of each container. */
  readonly #diffs = new Map<string, string[]>();
  /** How often a command on a kind of layer ended with a status. */
  readonly ended = new Map<string, number>();
  /** Pairs that were not drawn since it was last full. */
  #deck: (typeof PAIRS)[number][] = [];
  /** How many layers were asked for. */
  made = 0;

  get driver(): Driver {
    return this.docker.driver;
  }

  constructor(readonly docker: Docker, scratch: string) {
    const { driver } = docker;
    this.tar = join(scratch, "diff.tar");
    this.applied = join(scratch, "applied.tar");
    const { images, containers } = parentsByDocker(docker.root, driver);
    this.parents = { ...images, ...containers };
    const isInit = (id: string) => id.endsWith("-init");
    this.#ids = {
      running: Object.keys(containers).filter((id) => !isInit(id)),
      init: Object.keys(containers).filter(isInit),
      image: Object.keys(images),
      own: [],
      unknown: ["unknown", "0".repeat(64)],
      store: [""],
    };
    this.#ids.own = this.own();
    for (const box of BOXES) this.#diffs.set(box, linesOf(docker.must("diff", box)));
  }

  veneer(...args: string[]): Ran {
    return veneerBeside(this.docker, ...args);
  }

  must(...args: string[]): string {
    const { code, stdout, stderr } = this.veneer(...args);
    assertEquals({ code, stderr }, { code: 0, stderr: "" }, `veneer ${args.join(" ")}`);
    return stdout;
  }

  #layers(): string[] {
    return this.must("ls", "--quiet").split("\n").filter(Boolean);
  }

  /** Layers that are not Docker's. */
  own(): string[] {
    return this.#layers().filter((id) => this.parents[id] === undefined);
  }

  /** Runs a command, on a layer of one of the kinds it is for. Returns what it was. */
  runAny(random: (limit: number) => number): string {
    if (this.#deck.length === 0) {
      this.#deck = PAIRS.filter(([, kind]) => this.#ids[kind].length > 0);
    }
    const dangers = this.#deck.filter(([{ name }, kind]) => DANGERS.test(`${name} ${kind}`));
    const drawn = dangers.length > 0 ? dangers : this.#deck;
    const pair = drawn[random(drawn.length)], [command, kind] = pair;
    this.#deck = this.#deck.filter((other) => other !== pair);
    const id = this.#ids[kind][random(this.#ids[kind].length)];
    const [name] = command.name.split(" ");
    const args = [name, ...command.args(id, this)];
    const ran = this.veneer(...args);
    const what = `veneer ${args.join(" ")} (${kind})`;
    const key = `${command.name}\t${kind}\t${ran.code}`;
    this.ended.set(key, (this.ended.get(key) ?? 0) + 1);
    const allowed: number[] = endingsOf(command, kind, this.driver)
      .map((code) => code === "ok" ? 0 : EXIT_STATUS[code]);
    assert(allowed.includes(ran.code), `${what} ended with ${ran.code}: ${ran.stderr}`);
    if (ran.code !== 0 && name !== "exists") assertMatch(ran.stderr, /^veneer: [^\n]+\n$/, what);
    if (this.driver === "devicemapper" && ran.code === EXIT_STATUS["in use"]) {
      assertMatch(ran.stderr, /\(pid \d+\)/, `${what} names the holder`);
    }
    this.#ids.own = this.own();
    return what;
  }

  /** Looks at both containers from inside and by Docker, and lets each write one file more. */
  check(round: number, what: string): void {
    for (const box of BOXES) {
      const diff = this.#diffs.get(box)!;
      assertEquals(linesOf(this.docker.must("diff", box)), diff, `docker diff after ${what}`);
      const read = `cat /data/${box} /etc/issue && echo ${round} >/data/${round}`;
      const { stdout, stderr } = this.docker.try("exec", box, "/bin/sh", "-c", read);
      assertEquals([stdout, stderr], [`of ${box}\nDocker\n`, ""], `docker exec after ${what}`);
      diff.push(`A /data/${round}`);
      diff.sort();
    }
  }

  /** Reading commands say of Docker's layers what Docker does. */
  checkReading(): void {
    const layers: { id: string; parent?: string | null }[] = JSON.parse(this.must("--json", "ls"));
    const docker = layers.filter(({ id }) => this.parents[id] !== undefined);
    assertEquals(docker.map(({ id }) => id).sort(), Object.keys(this.parents).sort());
    const found = Object.fromEntries(docker.map(({ id, parent }) => [id, parent]));
    assertEquals(found, { ...this.parents });
    for (const box of BOXES) {
      const id = this.layerOf(box);
      assertEquals(linesOf(this.must("changes", id)), this.#diffs.get(box));
      const size = this.docker.must("inspect", "--size", "--format", "{{.SizeRw}}", box);
      assertEquals(this.must("diffsize", id).trim(), size);
      this.must("diff", id, "--output", this.tar);
      assert(namesIn(this.tar).includes(`data/${box}`));
    }
  }

  /** The layer that a container writes to. */
  layerOf(box: string): string {
    const id = this.docker.must("inspect", "--format", "{{.Id}}", box);
    const mounts = join(this.docker.root, "image", this.driver, "layerdb/mounts");
    return Deno.readTextFileSync(join(mounts, id, "mount-id"));
  }

  /** Unmounts and removes what is not Docker's; every layer of it goes. */
  removeOwn(): void {
    const layers: { id: string; references: number }[] = JSON.parse(this.must("--json", "ls"));
    for (const { id, references } of layers) {
      for (let left = references; left > 0; left--) this.must("umount", id);
    }
    for (let left = this.own(); left.length > 0;) {
      for (const id of left) this.veneer("rm", id);
      const now = this.own();
      assert(now.length < left.length, `cannot be removed: ${now.join(", ")}`);
      left = now;
    }
  }

  /** The table of commands, kinds of layers, statuses and how often each was. */
  table(): string {
    return [...this.ended].sort().map(([key, count]) => `${key}\t${count}`).join("\n");
  }
}

const BOXES = ["one", "two"];
const linesOf = (text: string) => text.split("\n").filter(Boolean).sort();
const SLEEP = ["/bin/sleep", "3600"];

/** An image of two layers, and two containers on it that have written. */
export function fill(docker: Docker, scratch: string): void {
  const base = join(scratch, "base"), context = join(scratch, "context");
  makeSystem(base, ["sh", "cat", "sleep"]);
  Deno.mkdirSync(join(base, "etc"));
  Deno.mkdirSync(join(base, "data"));
  Deno.writeTextFileSync(join(base, "etc/issue"), "Docker\n");
  must("tar", "-C", base, "-cf", join(scratch, "base.tar"), ".");
  docker.must("import", join(scratch, "base.tar"), "base");
  Deno.mkdirSync(context);
  Deno.writeTextFileSync(join(context, "copied"), "copied\n");
  Deno.writeTextFileSync(join(context, "Dockerfile"), "FROM base\nCOPY copied /copied\n");
  docker.must("build", "--quiet", "--network", "none", "-t", "built", context);
  must("tar", "-C", context, "-cf", join(scratch, "applied.tar"), "copied");
  for (const box of BOXES) {
    docker.must("run", "--detach", "--name", box, "--network", "none", "built", ...SLEEP);
    docker.must("exec", box, "/bin/sh", "-c", `echo of ${box} >/data/${box}`);
  }
}

/**
 * Runs commands at random on a daemon's store, and looks at its containers after each.
 *
 * @param rounds how many commands
 */
export function runBeside(docker: Docker, scratch: string, rounds: number): Store {
  console.log(`seed ${SEED}, ${rounds} commands`);
  const store = new Store(docker, scratch);
  const random = randomOf(SEED);
  try {
    store.checkReading();
    for (let round = 0; round < rounds; round++) store.check(round, store.runAny(random));
    store.checkReading();
  } finally {
    if (IS_LONG) console.log(store.table());
  }
  return store;
}

/** The daemon is gone: nothing is mounted, and Veneer alone has the store. */
export function assertAlone(store: Store): void {
  store.removeOwn();
  store.must("cleanup");
  assertEquals(store.must("ls", "--quiet"), "");
  assertEquals(mountPoints(store.docker.root), []);
}

/** All that Docker does with a container and its images works to the end. */
export function goesOn(docker: Docker): void {
  const read = (box: string) => docker.must("exec", box, "/bin/cat", `/data/${box}`);
  docker.must("commit", "one", "kept");
  assertEquals(docker.sh("kept", "cat /data/one"), "of one");
  for (const box of BOXES) {
    docker.must("stop", "--time", "0", box);
    docker.must("start", box);
    assertEquals(read(box), `of ${box}`);
    docker.must("exec", box, "/bin/sh", "-c", "echo again >/data/again");
  }
  docker.must("run", "--detach", "--name", "three", "--network", "none", "built", ...SLEEP);
  docker.must("exec", "three", "/bin/sh", "-c", "echo of three >/data/three");
  docker.must("cp", "three:/data/three", "-");
  assertEquals(read("three"), "of three");
  docker.must("rm", "--force", "three", ...BOXES);
  docker.must("rmi", "kept", "built", "base");
}
