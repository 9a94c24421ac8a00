/** The programs of engines' own suites. Each is built once for all stages of a run. */
import { lacksProgram, run } from "../support/cases.ts";

/** The directory for sources in Debian's packages of Go libraries. */
const GOPATH = "/usr/share/gocode";

/** A suite's program. */
export interface SuiteProgram {
  readonly name: string;
  /** The variable with the path of the program that the runner has built. */
  readonly variable: string;
  /** The files of the cases that run it. */
  readonly files: RegExp;
  /** The directory of this project's part of its source. */
  readonly source: string;
  /** A directory of sources that precedes Debian's. */
  readonly before?: string;
  /** The directories of Debian's packages from which it is built. */
  readonly packages: readonly string[];
}

const ours = (path: string) => new URL(path, import.meta.url).pathname;

export const CONTAINERD_SUITE: SuiteProgram = {
  name: "containerd's suite",
  variable: "VENEER_TEST_CONTAINERD_SUITE",
  files: /\/containerd_suite_test\.ts$/,
  source: ours("./containerd_suite"),
  packages: ["github.com/containerd/containerd/snapshots/testsuite"],
};

export const DOCKER_SUITE: SuiteProgram = {
  name: "Docker's suite",
  variable: "VENEER_TEST_DOCKER_SUITE",
  files: /\/docker_suite_test\.ts$/,
  source: ours("./docker_suite"),
  before: ours("./docker_suite/gopath"),
  packages: [
    "github.com/docker/docker/daemon/graphdriver/graphtest",
    "github.com/vbatts/tar-split",
  ],
};

export const SUITE_PROGRAMS = [CONTAINERD_SUITE, DOCKER_SUITE];

/** The reason why a suite cannot be built here, if it cannot. */
export function lacksSuite({ name, packages }: SuiteProgram): string | undefined {
  const lacking = lacksProgram("go");
  if (lacking !== undefined) return lacking;
  const isThere = packages.every((path) => run("test", "-d", `${GOPATH}/src/${path}`).success);
  return isThere ? undefined : `the sources of ${name} are not installed`;
}

/** The command that builds a suite's program at an absolute path. */
export function buildingSuite(
  { source, before }: SuiteProgram,
  path: string,
): [program: string, ...args: string[]] {
  const paths = before === undefined ? GOPATH : `${before}:${GOPATH}`;
  const environment = ["GO111MODULE=off", `GOPATH=${paths}`, "CGO_ENABLED=0"];
  return ["env", "-C", source, ...environment, "go", "test", "-c", "-o", path];
}

/** The program that the runner has built. */
export const builtSuite = ({ variable }: SuiteProgram): string | undefined =>
  Deno.env.get(variable);

/** The reason why a suite cannot be run here, if it cannot. */
export const lacksBuiltSuite = (suite: SuiteProgram): string | undefined =>
  builtSuite(suite) === undefined ? lacksSuite(suite) : undefined;
