/**
 * The part of `veneer doctor` about services: whether the service for containerd answers, and
 * whether containerd has it as a snapshotter.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { tryLstat } from "../../../ffi/stat.ts";
import type { Finding } from "../../../drivers/definition.ts";
import { messageOf } from "../../base/errors.ts";
import { probe, type Probed } from "../../services/containerd/probe.ts";

/** The socket of containerd, unless the environment of its tools names another one. */
const CONTAINERD = "/run/containerd/containerd.sock";

/** The options for the timeouts of containerd's own tool. */
const PATIENCE = ["--connect-timeout", "2s", "--timeout", "5s"];

/** Examines the service at an address. None of the findings prevents a driver from running. */
export async function examineServices(address: string, name: string): Promise<Finding[]> {
  const found = await probe(address, name), plugin = askContainerd(name);
  return [serviceFinding(address, found, plugin === "ok"), ...pluginFinding(name, found, plugin)];
}

function serviceFinding(address: string, found: Probed, isWanted: boolean): Finding {
  const remedy = `run \`veneer serve containerd --address ${address}\``;
  switch (found) {
    case "answers":
      return { state: "ok", what: `the service at ${address} answers` };
    case "missing":
      return isWanted
        ? {
          state: "limited",
          what: `containerd needs a service, and none is at ${address}`,
          remedy,
        }
        : { state: "ok", what: `no service runs at ${address}` };
    case "left over":
      return { state: "limited", what: `the service at ${address} was killed`, remedy };
    case "denied":
      return { state: "limited", what: `only root can ask the service at ${address}` };
    case "silent":
      return {
        state: "limited",
        what: `the service at ${address} does not answer`,
        remedy: "read its log, and start it again",
      };
  }
}

/**
 * The status of a snapshotter in containerd: that of its plugin, such as `ok` or `error`; `absent`
 * if there is no such plugin; `no answer`; `undefined` if containerd does not run. The error if its
 * socket cannot be accessed, such as by a user who is not root.
 */
function askContainerd(name: string): string | SyscallError | undefined {
  try {
    if (tryLstat(Deno.env.get("CONTAINERD_ADDRESS") || CONTAINERD) === undefined) return undefined;
  } catch (error) {
    if (error instanceof SyscallError) return error;
    throw error;
  }
  try {
    const { success, stdout } = new Deno.Command("ctr", {
      args: [...PATIENCE, "plugins", "ls"],
      stdin: "null",
    }).outputSync();
    return success ? pluginStatus(new TextDecoder().decode(stdout), name) : "no answer";
  } catch {
    return "no answer"; // Its tool is not installed, or may not be run.
  }
}

/** The status of a snapshotter in the table that `ctr plugins ls` prints. */
export function pluginStatus(table: string, name: string): string {
  for (const line of table.split("\n")) {
    const [type, id, , status] = line.trim().split(/\s+/);
    if (type === "io.containerd.snapshotter.v1" && id === name && status) return status;
  }
  return "absent";
}

function pluginFinding(
  name: string,
  found: Probed,
  plugin: string | SyscallError | undefined,
): Finding[] {
  if (plugin instanceof SyscallError) {
    return [{ state: "limited", what: `containerd cannot be asked: ${messageOf(plugin)}` }];
  }
  if (plugin === "ok") return [{ state: "ok", what: `containerd has the snapshotter ${name}` }];
  // It is not used there.
  if (found === "missing" && (plugin === undefined || plugin === "absent")) return [];
  switch (plugin) {
    case undefined:
      return [{ state: "limited", what: "containerd does not run", remedy: "start it" }];
    case "no answer":
      return [{
        state: "limited",
        what: "containerd does not tell its plugins",
        remedy: "see `ctr plugins ls`",
      }];
    case "absent":
      return [{
        state: "limited",
        what: `containerd has no snapshotter ${name}`,
        remedy: "add the lines of `veneer config containerd` to its configuration, and restart it",
      }];
    default:
      return [{
        state: "limited",
        what: `containerd has the snapshotter ${name} in the state ${JSON.stringify(plugin)}`,
        remedy: `see \`ctr plugins ls -d id==${name}\``,
      }];
  }
}
