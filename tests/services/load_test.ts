/** The service under h2load, which uses another implementation of HTTP/2. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { IS_LONG, lacksFileSystem, lacksProgram, needs } from "../support/cases.ts";
import { framed } from "./grpc_client.ts";
import { commit, list, make, ofKey } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay") ?? lacksProgram("h2load");

const REQUESTS = IS_LONG ? 50_000 : 2000;
/**
 * The rounds of the mixed load. Fewer do not show the memory of V8 if its heaps are not limited.
 */
const TIMES = IS_LONG ? 20 : 1;

/** The most memory of the service under load, in MiB. */
const MEMORY = 250;

/** Calls of one method by h2load. */
interface Load {
  readonly method: string;
  readonly message: readonly number[];
  readonly clients: number;
  readonly requests?: number;
}

/** The result of h2load: the requests by their status, and the number of requests in a second. */
async function load(
  service: TestService,
  { method, message, clients, requests = REQUESTS }: Load,
): Promise<number> {
  const body = join(service.directory.path, `body-${method}`);
  Deno.writeFileSync(body, Uint8Array.from(framed(message)));
  const { stdout } = await new Deno.Command("h2load", {
    args: [
      ...["-B", `unix:${service.address}`, "-n", `${requests}`, "-c", `${clients}`, "-m", "16"],
      ...["-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers"],
      `http://localhost/containerd.services.snapshots.v1.Snapshots/${method}`,
    ],
    stderr: "null",
  }).output();
  const output = new TextDecoder().decode(stdout);
  const [, rate] = /finished in .*, ([\d.]+) req\/s/.exec(output) ?? [];
  const [, done, succeeded] = /requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded/
    .exec(output) ?? [];
  const [, ok] = /status codes: (\d+) 2xx/.exec(output) ?? [];
  assertEquals([done, succeeded, ok].map(Number), [requests, requests, requests], output);
  return Number(rate);
}

/** The most resident memory of a process, in MiB. */
function peakOf(pid: number): number {
  const [, kib] = /^VmHWM:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))!;
  return Number(kib) / 1024;
}

needs(lacking, "load: every request of h2load is answered", async () => {
  await using service = await TestService.start("--log-level", "warn");
  {
    using client = await service.connect();
    for (let i = 0; i < 100; i++) {
      assertEquals((await client.call("Prepare", make(`key ${i}`))).status, 0);
    }
  }
  for (const [method, message] of [["Stat", ofKey("key 7")], ["List", list()]] as const) {
    for (const clients of [1, 16]) {
      const rate = await load(service, { method, message, clients });
      assert(rate > 0);
      if (IS_LONG) console.log(`${method}, ${clients} clients: ${rate} requests a second`);
    }
  }
  assertEquals(service.process.log.match(/level=(warn|error)/g), null, service.process.log);
});

needs(lacking, "load: calls of all kinds at once take limited memory", async () => {
  await using service = await TestService.start("--log-level", "warn");
  using client = await service.connect();
  const must = async (method: string, message: readonly number[]) =>
    assertEquals((await client.call(method, [...message])).status, 0, method);
  await must("Prepare", make("active"));
  for (let i = 0; i < 100 * TIMES; i++) await must("Prepare", make(`key ${i}`));
  const changing = async () => {
    for (let i = 0; i < 100 * TIMES; i++) {
      await must("Prepare", make("changed"));
      await must("Commit", commit(`name ${i}`, "changed"));
      await must("Remove", ofKey(`name ${i}`));
    }
  };
  await Promise.all([
    changing(),
    load(service, { method: "Stat", message: ofKey("key 7"), clients: 16, requests: 2000 * TIMES }),
    load(service, {
      method: "Usage",
      message: ofKey("active"),
      clients: 8,
      requests: 1000 * TIMES,
    }),
    load(service, {
      method: "Mounts",
      message: ofKey("key 7"),
      clients: 8,
      requests: 1000 * TIMES,
    }),
    load(service, { method: "List", message: list(), clients: 8, requests: 100 * TIMES }),
  ]);
  const peak = peakOf(service.process.pid);
  assert(peak < MEMORY, `${peak.toFixed(0)} MiB`);
  console.log(`${peak.toFixed(0)} MiB at most`);
});
