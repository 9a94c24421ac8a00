/**
 * The service for containerd against containerd's own overlayfs snapshotter on a socket: a hop each, a store each on
 * the file system that `VENEER_TEST_DIR` lies on, and one client that knows neither.
 *
 * Layers are not synced on either side, as is containerd's default. Both sync a commit's record before they answer.
 *
 * @module
 */
import { join } from "@std/path";
import { GrpcClient } from "../tests/services/grpc_client.ts";
import { cleanup } from "../tests/services/snapshots_client.ts";
import { Process } from "../tests/services/service_support.ts";
import { run } from "./measure.ts";
import { CHANGES, measureCalls, QUESTIONS, type Side } from "./snapshot_calls.ts";
import { DIRECTORY, VENEER } from "./subject.ts";

const THEIRS = "containerd's overlayfs, on a socket";
const OURS = "veneer serve containerd";

/** A service and its one client. */
interface Service extends Side {
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

async function start(
  name: string,
  address: string,
  words: readonly string[],
): Promise<Service> {
  const process = new Process(words);
  let found: GrpcClient | undefined;
  const connect = async () => {
    while (found === undefined) found = await GrpcClient.connect(address).catch(() => undefined);
  };
  await Promise.race([connect(), process.ended().then(() => Promise.reject(process.log))]);
  const client = found!;
  const call = async (method: string, request: readonly number[]) => {
    const { status, message } = await client.call(method, request);
    if (status !== 0) throw new Error(`${name}: ${method}: ${message}`);
  };
  return { name, process, client, labels: {}, call, settle: () => call("Cleanup", cleanup()) };
}

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
  await measureCalls(sides, THEIRS, true);
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
