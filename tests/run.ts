/**
 * The test runner: every suite on every file system it is for, here and under user-mode Linux, and one count.
 *
 *     tests/run.ts [native] [uml]      # both, where none is named
 *     tests/run.ts quick               # the inner loop: one file system, neither a guest nor an engine
 *
 * Format, lint and types come first; then stages run side by side, as many as there are processors. Each is a process
 * with mounts, processes, an image and a /run/veneer of its own, or a guest: see `tests/stage.ts`.
 *
 * - Natively: the tests in `tests`, `tests/peers` (stores and tars of others) and `tests/services` (engines) on
 *   an ext4 image; `tests/drivers` on each file system that a driver stands on.
 * - Under user-mode Linux: `tests/uml` and the drivers' cases on the file systems with project quotas, by the
 *   mount calls of an older kernel.
 *
 * A case counts as skipped only where it ran nowhere. The last line is the count.
 */
import { dirname, join } from "@std/path";
import type { ImageKind } from "./images.ts";
import { addUp, type Case, sharedNames, type Stage, summary } from "./report.ts";
import { keep, type Plan, readStage, STAGE_SECONDS, title } from "./stage.ts";
import { openWorkspace } from "./workspace.ts";

const TESTS = import.meta.dirname!;
const TOP = dirname(TESTS);
/** What starting and ending take beside a stage's own time: an image is made, a guest boots. */
const MARGIN_SECONDS = 120;

/** The drivers there are: each has a folder. */
const drivers = [...Deno.readDirSync(join(TOP, "drivers"))]
  .filter(({ isDirectory }) => isDirectory).map(({ name }) => name).sort();

/** Test files directly in a folder, relative to the project; none where there is no such folder. */
function testFiles(folder: string): string[] {
  try {
    return [...Deno.readDirSync(join(TESTS, folder))]
      .filter(({ name }) => name.endsWith("_test.ts"))
      .map(({ name }) => join("tests", folder, name)).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Those of `tests/*_test.ts` that spend their time in starting the program over and over, and the others. */
function generalFiles(): { commands: string[]; general: string[] } {
  const files = Object.groupBy(
    testFiles("."),
    (file) => /\/(cli_|concurrency|killed_)/.test(file) ? "commands" : "general",
  );
  return { commands: files.commands ?? [], general: files.general ?? [] };
}

/** The stages of a part, the longest first: what is begun last should be short. */
const PARTS: Readonly<Record<string, () => Plan[]>> = {
  uml: () => {
    const plan = (suite: string, fs: ImageKind): Plan => ({
      kernel: "uml",
      suite,
      fs,
      files: testFiles(suite),
    });
    return [
      plan("uml", "ext4+prjquota"),
      plan("uml", "xfs+pquota"),
      plan("drivers", "ext4+prjquota"),
      plan("drivers", "xfs+pquota"),
    ];
  },
  native: () => [
    ...PARTS.quick(),
    native("drivers", "btrfs"),
    native("drivers", "xfs"),
    native("services", "ext4"),
    native("peers", "ext4"),
  ],
  quick: () => {
    const { commands, general } = generalFiles();
    return [
      native("drivers", "ext4"),
      native("commands", "ext4", commands),
      native("general", "ext4", general),
    ];
  },
};

const native = (suite: string, fs: ImageKind, files = testFiles(suite)): Plan => ({
  kernel: "native",
  suite,
  fs,
  files,
});

/** Format, lint and types; and the program as the commands' cases start it: bundled, in half the time. */
async function checks(bundle: string): Promise<Stage[]> {
  const deno = (...args: string[]) => ({
    name: `deno ${args[0]}`,
    args: [Deno.execPath(), ...args],
  });
  const checks = [
    deno("fmt", "--check"),
    deno("lint", "--quiet"),
    deno("check", "--quiet", "--frozen"),
    { name: "bundle", args: ["tools/bundle", bundle] },
  ];
  return await Promise.all(checks.map(async ({ name, args }) => {
    const { code, seconds, log } = await keep(args);
    const outcome = code === 0 ? "passed" : "failed";
    const cases: Case[] = [{ file: "Makefile", name, outcome }];
    return announce({ kernel: "native", suite: name, fs: "", code, seconds, log, cases });
  }));
}

/** Runs a stage in a process of its own, here or as a guest, and reads what it left in `results`. */
async function runPlan(
  plan: Plan,
  directory: string,
  results: string,
  env: Record<string, string>,
): Promise<Stage> {
  const stage = [Deno.execPath(), "run", "--quiet", "--allow-all", "--no-check", "tests/stage.ts"];
  const seconds = STAGE_SECONDS + MARGIN_SECONDS;
  if (plan.kernel === "uml") {
    const uml = ["tools/uml", "-C", TOP, "-m", "3G", "-t", `${seconds}`];
    const args = [...uml, ...stage, JSON.stringify(plan), "/tmp", results];
    return readStage(plan, results, await keep(args, env, seconds + MARGIN_SECONDS));
  }
  Deno.mkdirSync(directory);
  const args = ["tools/isolated", ...stage, JSON.stringify(plan), directory, results];
  return readStage(plan, results, await keep(args, env, seconds));
}

/** Runs stages side by side, as many as there are processors. */
async function runAll(plans: readonly Plan[], directory: string, bundle: string): Promise<Stage[]> {
  const results = join(directory, "results");
  Deno.mkdirSync(results);
  const bundled = `${Deno.execPath()} run --allow-all --no-config ${bundle}/main.js`;
  const env = { VENEER: Deno.env.get("VENEER") ?? bundled };
  const waiting = [...plans.filter(({ files }) => files.length > 0).entries()];
  const stages: Stage[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [i, plan] = next;
      // Tests make Unix sockets below, whose paths end at 107 bytes (unix(7)): a short name.
      stages.push(announce(await runPlan(plan, join(directory, `${i}`), results, env)));
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  return stages;
}

/** Prints a stage's line, and all it said where it failed. */
function announce(stage: Stage): Stage {
  const { passed, failed, skipped } = addUp([stage]);
  const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  const cpu = stage.cpuSeconds === undefined ? "" : `, ${stage.cpuSeconds.toFixed(0)} s of CPU`;
  console.log(`${title(stage).padEnd(32)} ${counts}  (${stage.seconds.toFixed(1)} s${cpu})`);
  if (failed > 0) console.log(stage.log.trimEnd());
  return stage;
}

/** Every driver but aufs, which few kernels have, must have run. */
function unheard(stages: readonly Stage[]): string[] {
  const cases = stages.filter(({ suite }) => !["general", "commands"].includes(suite))
    .flatMap(({ cases }) => cases);
  return drivers.filter((driver) =>
    driver !== "aufs" &&
    !cases.some(({ file, name, outcome }) =>
      outcome === "passed" && `${file} ${name}`.includes(driver)
    )
  );
}

/** A stage of what the runner itself found wrong. */
const ownStage = (cases: Case[]): Stage => ({
  kernel: "native",
  suite: "names",
  fs: "",
  code: 1,
  seconds: 0,
  log: "",
  cases,
});

async function main(parts: string[]): Promise<number> {
  if (Deno.uid() !== 0) {
    console.error("tests need root, for mounts and loop devices: sudo make test");
    return 1;
  }
  using workspace = openWorkspace("veneer.");
  const plans = Object.keys(PARTS).filter((part) => parts.includes(part))
    .flatMap((part) => PARTS[part]());
  const bundle = join(workspace.directory, "js");
  const stages = [...await checks(bundle), ...await runAll(plans, workspace.directory, bundle)];
  const shared = sharedNames(stages)
    .map((name): Case => ({
      file: "tests",
      name: `two cases are named ${name}`,
      outcome: "failed",
    }));
  if (shared.length > 0) stages.push(ownStage(shared));
  const isWhole = ["native", "uml"].every((part) => parts.includes(part));
  const silent = isWhole ? unheard(stages) : [];
  console.log(summary(stages, silent, { isWhole }));
  return addUp(stages).failed > 0 || silent.length > 0 ? 1 : 0;
}

Deno.exit(await main(Deno.args.length > 0 ? Deno.args : ["native", "uml"]));
