/**
 * The program of containerd's suite of snapshotters, which is built once for all stages of a run.
 */
import { lacksProgram, run } from "../support/cases.ts";

/** Where Debian's packages of Go libraries put their sources. */
const GOPATH = "/usr/share/gocode";
const SUITE = `${GOPATH}/src/github.com/containerd/containerd/snapshots/testsuite`;

/** Why the suite cannot be built here, if it cannot. */
export function lacksSuite(): string | undefined {
  const lacking = lacksProgram("go");
  if (lacking !== undefined) return lacking;
  return run("test", "-d", SUITE).success ? undefined : "containerd's sources are not installed";
}

/** The command that builds the suite's program at an absolute path. */
export function buildingSuite(path: string): [program: string, ...args: string[]] {
  const source = new URL("./containerd_suite", import.meta.url).pathname;
  const environment = ["GO111MODULE=off", `GOPATH=${GOPATH}`, "CGO_ENABLED=0"];
  return ["env", "-C", source, ...environment, "go", "test", "-c", "-o", path];
}
