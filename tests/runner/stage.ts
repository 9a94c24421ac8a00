/**
 * One stage of the tests: some files on one file system, in a process with its own mounts.
 *
 *     tests/runner/stage.ts STAGE DIRECTORY RESULTS
 *
 * The runner starts this natively or as a guest. It makes the image in `DIRECTORY`, runs the files
 * on it, removes it, and writes the output and results of `deno test` to `RESULTS`, where the
 * runner reads them.
 */
import { existsSync } from "@std/fs";
import { join } from "@std/path";
import { type ImageKind, mountImage } from "./images.ts";
import { type Case, parseJunit, type Stage } from "./report.ts";
import { IS_LONG, mountPoints } from "../support/cases.ts";

/**
 * The most seconds for a stage. A stage that takes longer hangs: a slow machine takes 1200 for the largest, and more if
 * others work on it.
 */
export const STAGE_SECONDS = IS_LONG ? 14_400 : 3600;

/** The files of a stage and its environment. */
export interface Plan {
  readonly kernel: Stage["kernel"];
  readonly suite: string;
  readonly fs: ImageKind;
  /** Test files, relative to the project. */
  readonly files: readonly string[];
}

/** The end of a stage, for the runner. */
interface Ending {
  readonly code: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly log: string;
  /** The mount points that cases left. */
  readonly left: readonly string[];
}

/** The name of a stage in its line and its files. */
export const title = ({ kernel, suite, fs }: Pick<Stage, "kernel" | "suite" | "fs">): string =>
  [kernel, suite, fs].filter(Boolean).join(" ");

/** The result and output of a program. */
export interface Kept {
  readonly code: number;
  readonly seconds: number;
  readonly log: string;
}

/** Runs a program and keeps its output; kills it after `limit` seconds. */
export async function keep(
  args: string[],
  limit = STAGE_SECONDS,
  env: Record<string, string> = {},
): Promise<Kept> {
  const started = performance.now();
  const child = new Deno.Command("setpriv", {
    args: ["--pdeathsig", "KILL", "timeout", "--signal", "KILL", `${limit}`, ...args],
    cwd: join(import.meta.dirname!, "../.."),
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const { code, stdout, stderr } = await child.output();
  const seconds = (performance.now() - started) / 1000;
  const text = new TextDecoder();
  return { code, seconds, log: stripAnsiCode(text.decode(stdout) + text.decode(stderr)) };
}

/** Removes colours: tests of colours use the real environment, so their output may have some. */
// deno-lint-ignore no-control-regex
const stripAnsiCode = (text: string) => text.replace(/\x1b\[[\d;]*m/g, "");

/** The CPU time of this process's ended children in seconds, from ticks of 1/100 s (proc(5)). */
function childrenCpuSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").replace(/^.*\) /, "").split(" ");
  const [cutime, cstime] = fields.slice(13, 15).map(Number);
  return (cutime + cstime) / 100;
}

/** Makes the file system, runs the files on it, and removes it. */
async function runStage(plan: Plan, directory: string, results: string): Promise<void> {
  const image = mountImage(plan.fs, directory);
  try {
    const junit = join(results, `${title(plan)}.xml`);
    const args = [Deno.execPath(), "test", "--allow-all", "--no-check", "--frozen"];
    const kept = await keep(
      [...args, `--junit-path=${junit}`, ...plan.files],
      STAGE_SECONDS,
      { VENEER_TEST_DIR: image.mountPoint, VENEER_TEST_FS: plan.fs },
    );
    const left = mountPoints(image.mountPoint).slice(1); // the first is the image itself
    const ending: Ending = { ...kept, cpuSeconds: childrenCpuSeconds(), left };
    Deno.writeTextFileSync(join(results, `${title(plan)}.json`), JSON.stringify(ending));
  } finally {
    image[Symbol.dispose]();
  }
}

/**
 * Reads the results of a stage from `results`.
 *
 * @param program the result of the stage's process, which is used if the stage left no results
 */
export function readStage(plan: Plan, results: string, program: Kept): Stage {
  const { kernel, suite, fs } = plan;
  const read = (extension: string) => {
    try {
      return Deno.readTextFileSync(join(results, `${title(plan)}.${extension}`));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  };
  const ending: Ending | undefined = JSON.parse(read("json") ?? "null") ?? undefined;
  const cases = parseJunit(read("xml") ?? "");
  const wrong = whatIsWrong(program, ending, cases);
  const failed = wrong.map((name): Case => ({ file: suite, name, outcome: "failed" }));
  return {
    kernel,
    suite,
    fs,
    code: ending?.code ?? program.code,
    seconds: program.seconds,
    cpuSeconds: ending?.cpuSeconds,
    log: (ending?.log ?? "") + program.log,
    cases: [...cases, ...failed],
  };
}

/** Whether the runtime itself crashed, so that cases were not run to their end. */
export const hasCrashed = ({ cases, log }: Pick<Stage, "cases" | "log">): boolean =>
  log.includes("Deno has panicked") && cases.some(({ outcome }) => outcome === "failed");

/** Removes the results of a stage that is run again. */
export function forgetStage(plan: Plan, results: string): void {
  for (const extension of ["json", "xml"]) {
    const path = join(results, `${title(plan)}.${extension}`);
    if (existsSync(path)) Deno.removeSync(path);
  }
}

/** The errors of a stage besides failed cases. */
function whatIsWrong(
  program: Kept,
  ending: Ending | undefined,
  cases: readonly Case[],
): string[] {
  const tooLate = `it took longer than ${STAGE_SECONDS} s`;
  const SIGKILLED = 128 + 9, GUEST_SIGKILLED = 124;
  if (ending === undefined) {
    const late = [SIGKILLED, GUEST_SIGKILLED].includes(program.code);
    return [late ? tooLate : `the stage ended early (exit ${program.code})`];
  }
  const wrong = ending.left.map((point) => `a case left ${point} mounted`);
  if (ending.code !== 0 && !cases.some(({ outcome }) => outcome === "failed")) {
    wrong.push(ending.code === SIGKILLED ? tooLate : "it ended early");
  }
  if (ending.code === 0 && cases.length === 0) wrong.push("it ran no case");
  if (program.code !== 0) wrong.push(`the stage does not come to its end (exit ${program.code})`);
  return wrong;
}

if (import.meta.main) {
  const [plan, directory, results] = Deno.args;
  await runStage(JSON.parse(plan), directory, results);
}
