/**
 * The service for containerd against containerd's own overlayfs snapshotter, both as one containerd's API answers for
 * them: the service is its proxy plugin, its own is built in. What containerd itself does, as to write to its database,
 * is in both, and the service has one hop more.
 *
 * @module
 */
import { join } from "@std/path";
import { framed, GrpcClient, requestFields } from "../tests/services/grpc_client.ts";
import { Process } from "../tests/services/service_support.ts";
import { field } from "../tests/services/snapshots_client.ts";
import { Containerd, ROOT_LABEL } from "./containerd.ts";
import { CHANGES, measureCalls, QUESTIONS, type Side } from "./snapshot_calls.ts";
import { DIRECTORY, VENEER } from "./subject.ts";

const THEIRS = "containerd's overlayfs, built in";
const SERVICE = "/containerd.services.snapshots.v1.Snapshots";

const address = join(DIRECTORY, "v");
await using scope = new AsyncDisposableStack();
const service = new Process([
  ...VENEER,
  ...["--root", join(DIRECTORY, "our"), "--driver", "overlay2", "--log-level", "warn"],
  ...["serve", "containerd", "--address", address],
]);
scope.defer(async () => void await service.end("SIGTERM"));
const containerd = scope.use(await Containerd.start(join(DIRECTORY, "c"), "overlayfs", address));
const client = scope.use(await GrpcClient.connect(containerd.socket));

/** A snapshotter of that containerd. */
function sideOf(name: string, snapshotter: string): Side {
  return {
    name,
    labels: Object.fromEntries([ROOT_LABEL]),
    async call(method, request) {
      const path = `${SERVICE}/${method}`;
      const fields = [...requestFields(path), ["containerd-namespace", "default"] as const];
      // The requests begin with a name, and the last one of a field counts.
      const body = framed([...request, ...field(1, snapshotter)]);
      const { status, message } = await client.begin(fields, body).reply;
      if (status !== 0) throw new Error(`${name}: ${method}: ${message}`);
    },
    settle: () => containerd.collect(),
  };
}

const sides = [
  sideOf(THEIRS, "overlayfs"),
  sideOf("veneer serve containerd, as a proxy", "veneer"),
];
console.log(
  `== snapshots by containerd's API, overlay2 on ${
    Deno.env.get("VENEER_TEST_FS")
  }, ${CHANGES} changes or ${QUESTIONS} questions a turn`,
);
await measureCalls(sides, THEIRS, false);
