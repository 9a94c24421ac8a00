/**
 * The service for containerd against containerd's own overlayfs snapshotter on a socket: a hop each, a store each on
 * the file system that `VENEER_TEST_DIR` lies on, and one client that knows neither.
 *
 * Nothing is synced on either side, as is containerd's default.
 *
 * @module
 */
import { join } from "@std/path";
import { GrpcClient } from "../tests/services/grpc_client.ts";
import { cleanup, commit, list, make, ofKey, update } from "../tests/services/snapshots_client.ts";
import { Process } from "../tests/services/service_support.ts";
import { compare, type Contender, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const THEIRS = "containerd's overlayfs, on a socket";
const OURS = "veneer serve containerd";

/** Calls of one kind in a turn: of those that change something, and of those that only ask. */
const CHANGES = 128, QUESTIONS = 640;

/** A service and its one client. */
interface Side {
  readonly name: string;
  readonly process: Process;
  readonly client: GrpcClient;
}

/** Builds the peer, which Debian's packages have the sources of. */
function buildPeer(): string {
  const program = join(DIRECTORY, "snapshotservice");
  const source = new URL("../tests/peers/snapshotservice", import.meta.url).pathname;
  const environment = ["GO111MODULE=off", "GOPATH=/usr/share/gocode", "CGO_ENABLED=0"];
  run("env", "-C", source, ...environment, "go", "build", "-o", program);
  return program;
}

async function start(name: string, address: string, words: readonly string[]): Promise<Side> {
  const process = new Process(words);
  let client: GrpcClient | undefined;
  const connect = async () => {
    while (client === undefined) client = await GrpcClient.connect(address).catch(() => undefined);
  };
  await Promise.race([connect(), process.ended().then(() => Promise.reject(process.log))]);
  return { name, process, client: client! };
}

/** A call that must succeed. */
async function call({ client, name }: Side, method: string, request: number[]): Promise<void> {
  const { status, message } = await client.call(method, request);
  if (status !== 0) throw new Error(`${name}: ${method}: ${message}`);
}

/** Makes calls, so many at once. */
async function inParallel(
  atOnce: number,
  calls: number,
  one: (n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < calls) await one(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

const keys = (n: number) => ofKey(`key ${n}`);

/** What is measured: the calls before, not measured; the call; the calls after, not measured. */
const KINDS: readonly {
  readonly name: string;
  readonly aim: string;
  readonly calls: number;
  readonly before?: (side: Side, n: number) => Promise<void>;
  readonly one: (side: Side, n: number) => Promise<void>;
  readonly after?: (side: Side, n: number) => Promise<void>;
}[] = [
  {
    name: "prepare",
    aim: "0.8",
    calls: CHANGES,
    one: (side, n) => call(side, "Prepare", make(`key ${n}`, "base")),
    after: (side, n) => call(side, "Remove", keys(n)),
  },
  {
    name: "view",
    aim: "1.0",
    calls: CHANGES,
    one: (side, n) => call(side, "View", make(`key ${n}`, "base")),
    after: (side, n) => call(side, "Remove", keys(n)),
  },
  {
    name: "commit",
    aim: "0.8",
    calls: CHANGES,
    before: (side, n) => call(side, "Prepare", make(`key ${n}`, "base")),
    one: (side, n) => call(side, "Commit", commit(`name ${n}`, `key ${n}`)),
    after: (side, n) => call(side, "Remove", ofKey(`name ${n}`)),
  },
  {
    name: "remove",
    aim: "0.8",
    calls: CHANGES,
    before: (side, n) => call(side, "Prepare", make(`key ${n}`, "base")),
    one: (side, n) => call(side, "Remove", keys(n)),
  },
  {
    name: "mounts",
    aim: "1.0",
    calls: QUESTIONS,
    one: (side) => call(side, "Mounts", ofKey("active")),
  },
  { name: "stat", aim: "1.0", calls: QUESTIONS, one: (side) => call(side, "Stat", ofKey("base")) },
  {
    name: "usage",
    aim: "1.0",
    calls: QUESTIONS,
    one: (side) => call(side, "Usage", ofKey("active")),
  },
];

const peer = buildPeer();
const path = (name: string) => join(DIRECTORY, name);
const addresses = [path("t"), path("v")];
const words = [
  [peer, path("their"), addresses[0]],
  [
    ...VENEER,
    ...["--root", path("our"), "--driver", "overlay2", "--log-level", "warn"],
    ...["serve", "containerd", "--address", addresses[1]],
  ],
];
const sides = [
  await start(THEIRS, addresses[0], words[0]),
  await start(OURS, addresses[1], words[1]),
];

console.log(
  `== services, overlay2 on ${
    Deno.env.get("VENEER_TEST_FS")
  }, ${CHANGES} changes or ${QUESTIONS} questions a turn`,
);
try {
  for (const side of sides) {
    await call(side, "Prepare", make("filling"));
    await call(side, "Commit", commit("base", "filling"));
    await call(side, "Prepare", make("active", "base"));
  }
  for (const { name, aim, calls, before, one, after } of KINDS) {
    for (const atOnce of [1, 16]) {
      const contenders = sides.map((side): Contender => ({
        name: side.name,
        before: before && (() => inParallel(16, calls, (n) => before(side, n))),
        run: () => inParallel(atOnce, calls, (n) => one(side, n)),
        after: async () => {
          if (after) await inParallel(16, calls, (n) => after(side, n));
          await call(side, "Cleanup", cleanup());
        },
      }));
      const results = await compare(contenders, QUICK ? 3 : 9);
      report(`${name}, ${atOnce} at once`, results, THEIRS, aim);
    }
  }
  for (const side of sides) {
    for (let n = 0; n < 1000; n++) await call(side, "View", make(`view ${n}`, "base"));
  }
  for (const [title, isChanged] of [["", false], [" after a change", true]] as const) {
    const lists = sides.map((side): Contender => ({
      name: side.name,
      before: async () => {
        if (isChanged) await call(side, "Update", update("view 0", { at: `${performance.now()}` }));
      },
      run: () => call(side, "List", list()),
    }));
    report(`list of 1,000${title}`, await compare(lists, QUICK ? 3 : 15), THEIRS, "1.0");
  }
  console.log("\nresident memory");
  for (const { name, process } of sides) {
    const status = Deno.readTextFileSync(`/proc/${process.pid}/status`);
    const [rss, peak] = ["VmRSS", "VmHWM"].map((key) =>
      Number(status.match(new RegExp(`${key}:\\s+(\\d+)`))![1]) / 1024
    );
    console.log(`  ${name.padEnd(44)} ${rss.toFixed(0)} MiB, ${peak.toFixed(0)} at most`);
  }
} finally {
  for (const { client, process } of sides) {
    client[Symbol.dispose]();
    await process.end("SIGTERM");
  }
}
