/**
 * `veneer config containerd`: prints the lines for containerd's configuration.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import {
  CONTAINERD_RELEASES,
  containerdConfiguration,
  type ContainerdRelease,
  containerdRelease,
} from "../../../services/configuration/containerd.ts";
import type { Run } from "../context.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

export const run: Run = (context) => {
  const service = serviceOf(context);
  const release = context.options.value("for") ?? installedRelease();
  const text = containerdConfiguration(release as ContainerdRelease, service);
  printConfiguration(context, text);
};

/**
 * The release of the installed containerd.
 *
 * @throws {VeneerError} `not found` if it is not installed
 */
function installedRelease(): ContainerdRelease {
  const say = `say which with --for ${CONTAINERD_RELEASES.join(", ")}`;
  let output: string;
  try {
    // It prints `containerd PACKAGE VERSION REVISION`.
    const { stdout } = new Deno.Command("containerd", { args: ["--version"], stdin: "null" })
      .outputSync();
    output = new TextDecoder().decode(stdout).trim();
  } catch {
    throw new VeneerError("not found", `containerd is not installed here; ${say}`);
  }
  const version = output.split(/\s+/)[2] ?? "";
  const release = containerdRelease(version);
  if (release !== undefined) return release;
  throw new VeneerError(
    "not supported",
    `containerd --version prints ${JSON.stringify(output)}, which is not a known release; ${say}`,
  );
}
