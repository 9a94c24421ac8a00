/**
 * The test runner: every suite on every file system it is for, here and under user-mode Linux, and one count.
 *
 *     tests/run.ts [native] [uml]      # both, where none is named
 *
 * 1. Natively: format, lint, types; `tests/*_test.ts` and `tests/peers/*_test.ts` (which other programs' stores
 *    and tars are for) on an ext4 image; `tests/drivers/*_test.ts` on each file system that a driver stands on.
 * 2. Under user-mode Linux, beside it: `tests/uml/*_test.ts` and the drivers' cases on the file systems with
 *    project quotas, by the mount calls of an older kernel.
 *
 * A case counts as skipped only where it ran nowhere. The last line is the count.
 */
import { basename, dirname, join } from "@std/path";
import { type ImageKind, mountImage } from "./images.ts";
import { addUp, type Case, parseJunit, sharedNames, type Stage, summary } from "./report.ts";
import { mountPoints } from "./support.ts";
import { openWorkspace } from "./workspace.ts";

const TESTS = import.meta.dirname!;
const TOP = dirname(TESTS);
/** Longer than any stage takes; what takes longer hangs. */
const STAGE_SECONDS = Deno.env.has("VENEER_TEST_LONG") ? 7200 : 1200;
/** The same for the guest, which runs its stages one after the other. */
const GUEST_SECONDS = 2 * STAGE_SECONDS;

/** The file systems of the guest: those that this machine's kernel may lack. */
const GUEST_IMAGES: ImageKind[] = ["xfs+pquota", "ext4+prjquota"];

const text = new TextDecoder();

/** The drivers there are: each has a folder. */
const drivers = [...Deno.readDirSync(join(TOP, "drivers"))]
  .filter(({ isDirectory }) => isDirectory).map(({ name }) => name).sort();

/** Test files directly in a folder, relative to the project. */
function testFiles(folder: string): string[] {
  return [...Deno.readDirSync(join(TESTS, folder))]
    .filter(({ name }) => name.endsWith("_test.ts"))
    .map(({ name }) => join("tests", folder, name)).sort();
}

/** Tests of colours meet the environment as it is, so their output may have some. */
// deno-lint-ignore no-control-regex
const stripAnsiCode = (text: string) => text.replace(/\x1b\[[\d;]*m/g, "");

/** Runs a program with its output kept; kills it after `limit` seconds. */
async function keep(args: string[], env: Record<string, string> = {}, limit = STAGE_SECONDS) {
  const started = performance.now();
  const child = new Deno.Command("setpriv", {
    args: ["--pdeathsig", "KILL", "timeout", "--signal", "KILL", `${limit}`, ...args],
    cwd: TOP,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const { code, stdout, stderr } = await child.output();
  const seconds = (performance.now() - started) / 1000;
  const log = stripAnsiCode(text.decode(stdout) + text.decode(stderr));
  return { code, seconds, log };
}

/** Runs test files on one file system. The results stay in `results`, where the host reads the guest's. */
async function testOn(
  kind: ImageKind,
  suite: string,
  files: string[],
  directory: string,
  results: string,
): Promise<void> {
  const junit = join(results, `${suite} on ${kind}.xml`);
  const args = [Deno.execPath(), "test", "--allow-all", "--no-check", "--frozen"];
  const { code, seconds, log } = await keep(
    [...args, `--junit-path=${junit}`, ...files],
    { VENEER_TEST_DIR: directory, VENEER_TEST_FS: kind },
  );
  const left = mountPoints(directory).slice(1); // the first is the image itself
  const result = { code, seconds, log, left };
  Deno.writeTextFileSync(junit.replace(/xml$/, "json"), JSON.stringify(result));
}

/** Makes a file system, runs suites on it, takes it down. */
async function onImage(
  kind: ImageKind,
  directory: string,
  suites: [name: string, files: string[]][],
  results: string,
): Promise<void> {
  const image = mountImage(kind, directory);
  try {
    for (const [suite, files] of suites) {
      if (files.length > 0) await testOn(kind, suite, files, image.mountPoint, results);
    }
  } finally {
    image[Symbol.dispose]();
  }
}

/** The stages whose results lie in a directory. */
function collect(results: string, kernel: Stage["kernel"]): Stage[] {
  return [...Deno.readDirSync(results)].filter(({ name }) => name.endsWith(".json"))
    .map(({ name }): Stage => {
      const { code, seconds, log, left } = JSON.parse(Deno.readTextFileSync(join(results, name)));
      const label = basename(name.replace(/\.json$/, ""));
      const [suite, fs] = label.split(" on ");
      let cases: Case[] = [];
      try {
        cases = parseJunit(Deno.readTextFileSync(join(results, `${label}.xml`)));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
      return complete({ kernel, suite, fs, code, seconds, log, cases }, left);
    });
}

/** Adds as failed cases what else is wrong with a suite. */
function complete(stage: Stage, left: string[]): Stage {
  const wrong = left.map((point) => `a case left ${point} mounted`);
  for (const name of sharedNames(stage.cases)) wrong.push(`two cases are named ${name}`);
  if (stage.code !== 0 && !stage.cases.some(({ outcome }) => outcome === "failed")) {
    const late = stage.code === 137;
    wrong.push(late ? `it took longer than ${STAGE_SECONDS} s` : "it ended early");
  }
  const failed = wrong.map((name): Case => ({ file: stage.suite, name, outcome: "failed" }));
  return { ...stage, cases: [...stage.cases, ...failed] };
}

async function checks(): Promise<Stage[]> {
  const stages: Stage[] = [];
  for (const args of [["fmt", "--check"], ["lint", "--quiet"], ["check", "--quiet", "--frozen"]]) {
    const { code, seconds, log } = await keep([Deno.execPath(), ...args]);
    const outcome = code === 0 ? "passed" : "failed";
    const cases: Case[] = [{ file: "deno.json", name: `deno ${args.join(" ")}`, outcome }];
    const suite = `deno ${args[0]}`;
    stages.push(announce({ kernel: "native", suite, fs: "", code, seconds, log, cases }));
  }
  return stages;
}

async function native(directory: string): Promise<Stage[]> {
  const stages = await checks();
  const kinds: ImageKind[] = ["ext4", "xfs"];
  if (drivers.includes("btrfs")) kinds.push("btrfs");
  for (const kind of kinds) {
    const suites: [string, string[]][] = [["drivers", testFiles("drivers")]];
    if (kind === "ext4") suites.unshift(["general", testFiles(".")], ["peers", testFiles("peers")]);
    const results = join(directory, `results-${kind}`);
    Deno.mkdirSync(results);
    await onImage(kind, directory, suites, results);
    stages.push(...collect(results, "native").map(announce));
  }
  return stages;
}

/** Runs this file again as a guest, and reads what it left. */
async function underUml(directory: string): Promise<Stage[]> {
  const results = join(directory, "results-uml");
  Deno.mkdirSync(results);
  const uml = [join(TOP, "tools/uml"), "-C", TOP, "-m", "3G", "-t", `${GUEST_SECONDS}`];
  const guest = [Deno.execPath(), "run", "--allow-all", "--no-check", "tests/run.ts", "guest"];
  const { code, seconds, log } = await keep([...uml, ...guest, results], {}, GUEST_SECONDS + 30);
  const stages = collect(results, "uml").map(announce);
  if (code !== 0) {
    const failed: Case = {
      file: "tools/uml",
      name: "the guest runs to its end",
      outcome: "failed",
    };
    stages.push(
      announce({ kernel: "uml", suite: "guest", fs: "", code, seconds, log, cases: [failed] }),
    );
  }
  return stages;
}

/** What runs in the guest: images in its memory, the suites on each. */
async function guest(results: string): Promise<void> {
  for (const kind of GUEST_IMAGES) {
    await onImage(
      kind,
      "/tmp",
      [["uml", testFiles("uml")], ["drivers", testFiles("drivers")]],
      results,
    );
  }
}

/** Prints a stage's line, and all it said where it failed. */
function announce(stage: Stage): Stage {
  const { passed, failed, skipped } = addUp([stage]);
  const where = [stage.kernel, stage.suite, stage.fs].filter(Boolean).join(" ");
  const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  console.log(`${where.padEnd(32)} ${counts}  (${stage.seconds.toFixed(1)} s)`);
  if (failed > 0) console.log(stage.log.trimEnd());
  return stage;
}

/** Every driver but aufs, which few kernels have, must have run. */
function unheard(stages: Stage[]): string[] {
  const cases = stages.filter(({ suite }) => suite !== "general").flatMap(({ cases }) => cases);
  return drivers.filter((driver) =>
    driver !== "aufs" &&
    !cases.some(({ file, name, outcome }) =>
      outcome === "passed" && `${file} ${name}`.includes(driver)
    )
  );
}

async function main(parts: string[]): Promise<number> {
  if (Deno.uid() !== 0) {
    console.error("tests need root, for mounts and loop devices: sudo make test");
    return 1;
  }
  using workspace = openWorkspace("veneer.");
  const stages = (await Promise.all([
    parts.includes("native") ? native(workspace.directory) : [],
    parts.includes("uml") ? underUml(workspace.directory) : [],
  ])).flat();
  const silent = parts.length === 2 ? unheard(stages) : [];
  console.log(summary(stages, silent));
  return addUp(stages).failed > 0 || silent.length > 0 ? 1 : 0;
}

if (Deno.args[0] === "guest") await guest(Deno.args[1]);
else Deno.exit(await main(Deno.args.length > 0 ? Deno.args : ["native", "uml"]));
