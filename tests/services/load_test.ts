/**
 * The service under h2load, which knows HTTP/2 from another implementation.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, lacksProgram, must, needs } from "../support/cases.ts";
import { framed } from "./grpc_client.ts";
import { list, make, ofKey } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay") ?? lacksProgram("h2load");

const isLong = Deno.env.has("VENEER_TEST_LONG");
const REQUESTS = isLong ? 50_000 : 2000;

/** What h2load found: requests by how they ended, and how many there were in a second. */
function load(service: TestService, method: string, message: readonly number[], clients: number) {
  const body = join(service.directory.path, "body");
  Deno.writeFileSync(body, Uint8Array.from(framed(message)));
  const output = must(
    ...[
      "h2load",
      "-B",
      `unix:${service.address}`,
      "-n",
      `${REQUESTS}`,
      "-c",
      `${clients}`,
    ] as const,
    ...["-m", "16", "-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers"],
    `http://localhost/containerd.services.snapshots.v1.Snapshots/${method}`,
  );
  const [, rate] = /finished in .*, ([\d.]+) req\/s/.exec(output) ?? [];
  const [, done, succeeded] = /requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded/
    .exec(output) ?? [];
  const [, ok] = /status codes: (\d+) 2xx/.exec(output) ?? [];
  assertEquals([done, succeeded, ok].map(Number), [REQUESTS, REQUESTS, REQUESTS], output);
  return Number(rate);
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
      const rate = load(service, method, message, clients);
      assert(rate > 0);
      if (isLong) console.log(`${method}, ${clients} clients: ${rate} requests a second`);
    }
  }
  assertEquals(service.process.log.match(/level=(warn|error)/g), null, service.process.log);
});
