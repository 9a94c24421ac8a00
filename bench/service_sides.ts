/**
 * The service for containerd, and its peer: containerd's own overlayfs snapshotter on a socket. Each has a hop and a
 * store of its own, in the directory that `VENEER_TEST_DIR` names.
 *
 * @module
 */
import { join } from "@std/path";
import { GrpcClient } from "../tests/services/grpc_client.ts";
import { Process } from "../tests/services/service_support.ts";
import { cleanup } from "../tests/services/snapshots_client.ts";
import { run } from "./measure.ts";
import type { Side } from "./snapshot_calls.ts";
import { DIRECTORY, VENEER } from "./subject.ts";

export const THEIRS = "containerd's overlayfs, on a socket";
const OURS = "veneer serve containerd";

/** A service and its one client. */
export interface Service extends Side {
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

/** Starts both, the peer first. */
export async function startSides(): Promise<readonly Service[]> {
  const peer = buildPeer();
  const path = (name: string) => join(DIRECTORY, name);
  const ours = [
    ...VENEER,
    ...["--root", path("our"), "--driver", "overlay2", "--log-level", "warn"],
    ...["serve", "containerd", "--address", path("v")],
  ];
  return [
    await start(THEIRS, path("t"), [peer, path("their"), path("t")]),
    await start(OURS, path("v"), ours),
  ];
}

/** Ends both. */
export async function endSides(sides: readonly Service[]): Promise<void> {
  for (const { client, process } of sides) {
    client[Symbol.dispose]();
    await process.end("SIGTERM");
  }
}
