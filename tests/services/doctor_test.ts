/**
 * `veneer doctor` about the service for containerd, and about containerd.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { pluginStatus } from "../../lib/cli/commands/doctor_services.ts";
import type { Finding } from "../../drivers/definition.ts";
import { lacksFileSystem, needs, run, tempDir } from "../support/cases.ts";
import { PROGRAM } from "../support/commands.ts";
import { TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/** The findings of doctor about the service at an address, without a containerd. */
function findings(address: string, ...options: string[]): [string, string][] {
  const words = ["--json", "doctor", "--address", address, ...options];
  const { stdout } = run("env", `CONTAINERD_ADDRESS=${address}.none`, ...PROGRAM, ...words);
  const { containerd } = JSON.parse(stdout) as { containerd: Finding[] };
  return containerd.map(({ state, what }) => [state, what]);
}

/** The same once the service has answered, for which it has two seconds: on a busy machine not each time. */
function answering(address: string, ...options: string[]): [string, string][] {
  for (let tries = 1;; tries++) {
    const found = findings(address, ...options);
    if (found[0][0] === "ok" || tries === 5) return found;
  }
}

needs(lacking, "doctor: a service answers, or was killed, or hangs", async () => {
  await using service = await TestService.start();
  const { address } = service;
  const noEngine: [string, string] = ["limited", "containerd does not run"];
  const answers: [string, string] = ["ok", `the service at ${address} answers`];
  assertEquals(answering(address), [answers, noEngine]);
  assertEquals(answering(`unix://${address}`, "--name", "other"), [answers, noEngine]);
  service.process.signal("SIGSTOP");
  assertEquals(findings(address), [
    ["limited", `the service at ${address} does not answer`],
    noEngine,
  ]);
  service.process.signal("SIGCONT");
  await service.process.end("SIGKILL");
  assertEquals(findings(address), [["limited", `the service at ${address} was killed`], noEngine]);
});

Deno.test("doctor: a socket of containerd's that cannot be examined is one finding", () => {
  // It is like a user's access to a directory without permission: a name that is too long fails for
  // root, too.
  using dir = tempDir();
  const [, [state, what]] = findings(join(dir.path, "a".repeat(260)));
  assertEquals(state, "limited");
  assertMatch(what, /^containerd cannot be asked: statx .*ENAMETOOLONG/);
});

Deno.test("doctor: a service need not run, and another program is not a service", () => {
  using dir = tempDir();
  const address = join(dir.path, "s.sock");
  assertEquals(findings(address), [["ok", `no service runs at ${address}`]]);
  using _listener = Deno.listen({ transport: "unix", path: address });
  assertEquals(findings(address)[0], ["limited", `the service at ${address} does not answer`]);
});

Deno.test("doctor: reads containerd's table of plugins", () => {
  const table = `TYPE                            ID         PLATFORMS      STATUS
io.containerd.content.v1        veneer     -              error
io.containerd.snapshotter.v1    overlayfs  linux/amd64    ok
io.containerd.snapshotter.v1    veneer     -              skip
`;
  assertEquals(pluginStatus(table, "veneer"), "skip");
  assertEquals(pluginStatus(table, "overlayfs"), "ok");
  assertEquals(pluginStatus(table, "veneer2"), "absent");
});
