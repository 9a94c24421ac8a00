/**
 * A registry on loopback.
 */
import { join } from "@std/path";
import { Process, until } from "../services/service_support.ts";
import { run } from "../support/cases.ts";
import { fetched } from "./engines.ts";

/** Starts a registry that keeps what it is given below a directory. */
export async function startRegistry(directory: string, port: number): Promise<Process> {
  const config = join(directory, "registry.yml");
  Deno.writeTextFileSync(
    config,
    `version: 0.1
storage: {filesystem: {rootdirectory: ${join(directory, "registry")}}}
http: {addr: "127.0.0.1:${port}"}
`,
  );
  const registry = new Process([fetched("bookworm", "usr/bin/docker-registry"), "serve", config]);
  await until(
    () => run("bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/${port}`).success,
    "the registry to listen",
  );
  return registry;
}

/** A port that nobody listens on just now. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
