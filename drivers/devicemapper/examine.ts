/**
 * Finds out whether the driver can run here, for `veneer doctor`. Changes nothing, and loads no
 * module.
 *
 * @module
 */
import { isUdevSynced } from "../../ffi/devmapper.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { type Finding, missing } from "../definition.ts";
import { checkSupportQuietly, describeVersions } from "./support.ts";
import { findProgram } from "./system_programs.ts";

export function examine(_root: string): Finding[] {
  const problem = checkSupportQuietly();
  if (problem !== undefined) return [missing(problem)];
  return [
    { state: "ok", what: describeVersions() },
    udev(),
    program("mkfs.ext4", "e2fsprogs", "missing"),
    program("mkfs.xfs", "xfsprogs", "limited"),
  ];
}

function udev(): Finding {
  if (tryLstat("/run/udev/control") === undefined || Deno.env.has("DM_DISABLE_UDEV")) {
    return { state: "ok", what: "no udev: libdevmapper makes device nodes itself" };
  }
  if (isUdevSynced()) return { state: "ok", what: "libdevmapper waits for udev" };
  return {
    state: "missing",
    what: "udev runs and libdevmapper cannot wait for it",
    remedy: "run on the host, or risk it with the option dm.override_udev_sync_check=true",
  };
}

function program(name: string, from: string, lacking: "missing" | "limited"): Finding {
  if (findProgram(name) !== undefined) return { state: "ok", what: `there is ${name}` };
  return { state: lacking, what: `there is no ${name}`, remedy: `install ${from}` };
}
