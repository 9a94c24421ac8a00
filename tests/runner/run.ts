/**
 * The test runner: runs every suite on each of its file systems, here and under user-mode Linux,
 * and counts the results.
 *
 *     tests/runner/run.ts [native] [uml]      # both, where none is named
 *     tests/runner/run.ts engines             # newer engines, which `tools/engines.ts` fetched
 *     tests/runner/run.ts quick               # the inner loop: one file system, no guest, no engine, no rounds of kills
 *
 * First the programs that cases start are built; meanwhile cases run that must run alone. Then
 * format, lint and types are checked and stages run side by side: one for each processor, and one
 * more of those that mostly wait. Each stage is a process with its own mounts, processes, image and
 * /run/veneer, or a guest: see `tests/runner/stage.ts`.
 *
 * A file names its environments: see `tests/runner/environments.ts`.
 *
 * A case counts as skipped only if it ran nowhere. The last line is the count.
 */
import { expandGlobSync } from "@std/fs";
import { dirname, join } from "@std/path";
import { type Environment, environmentsOf } from "./environments.ts";
import { addUp, type Case, sharedNames, type Stage, summary } from "./report.ts";
import {
  buildingSuite,
  lacksSuite,
  SUITE_PROGRAMS,
  type SuiteProgram,
} from "../services/suite_programs.ts";
import { IS_LONG } from "../support/cases.ts";
import { V8_FLAGS } from "../support/commands.ts";
import {
  forgetStage,
  hasCrashed,
  keep,
  type Plan,
  readStage,
  STAGE_SECONDS,
  title,
} from "./stage.ts";
import { openWorkspace } from "./workspace.ts";
import { newerKernel } from "../../tools/guest_kernel.ts";

const TOP = dirname(dirname(import.meta.dirname!));
/**
 * The time for the start and the end of a stage, in addition to its own time: an image is made, a
 * guest boots.
 */
const MARGIN_SECONDS = 120;

/** Files whose cases change the whole machine's kernel: the parameters of a module. */
const KERNEL_WIDE = ["tests/drivers/overlay2/references_test.ts"];

/** All drivers: each has a folder. The folder `union` has the parts that some share. */
const drivers = [...Deno.readDirSync(join(TOP, "drivers"))]
  .filter(({ name, isDirectory }) => isDirectory && name !== "union").map(({ name }) => name)
  .sort();

/** All test files, relative to the project. */
function testFiles(): string[] {
  return Array.from(
    expandGlobSync("tests/**/*_test.ts", { root: TOP }),
    ({ path }) => path.slice(TOP.length + 1),
  ).sort();
}

/** Test files that start the program many times, and those that race or kill many processes. */
const COMMANDS = /^tests\/cli\/(?!parse|progress|layer_tree|program)/;
const ROUNDS =
  /\/(concurrency|full_disk|interrupted_transfers|killed_processes|mount_namespaces|\w+_(kill|processes|many)|kill)_test\.ts$/;

/** Other test files whose cases take long, a second or more each. */
const LONG_NAMES = [
  // Traces of the program, and cases that start shells.
  "program_files",
  "completions",
  "by_hand",
  "examples",
  "exec",
  "terminal",
  "added_driver",
  // Many runs of the program, on stores made for them.
  "snapshot",
  "snapshot_uses",
  "hostile_store",
  "whose_mount",
  "old_mount",
  // Many layers, entries or children; an engine's suite.
  "round_trips",
  "link_budget",
  "hostile_tars",
  "export_worker",
  "export_stream",
  "apply_worker",
  "tar/decompress",
  "tar/fuzz",
  "tree/parents",
  "ffi/cstring",
  "shared/children",
  // Damage to every record and file.
  "care/(?!command)\\w+",
  "migrate/killed",
  "docs/(workflows|sessions)",
  "\\w+_suite",
];
const LONG = new RegExp(`/(${LONG_NAMES.join("|")})_test\\.ts$`);

/**
 * A stage with its approximate CPU time in seconds. The longest stages begin first, so that short
 * ones end the run.
 */
interface Weighted extends Plan {
  readonly cost: number;
  /**
   * Whether it mostly waits for engines to start and to end, so that it needs no processor to
   * itself.
   */
  readonly waits: boolean;
}

/** The approximate CPU times of stages in seconds, if they exceed {@linkcode USUAL_COST}. */
const COSTS: Readonly<Record<string, number>> = {
  "native general ext4": 700,
  "uml kills ext4+prjquota": 480,
  "uml peers ext4+prjquota": 410,
  "native commands ext4": 390,
  "native drivers ext4": 380,
  "uml devicemapper ext4+prjquota": 350,
  "native drivers btrfs": 330,
  "uml drivers ext4+prjquota": 330,
  "uml shared ext4+prjquota": 300,
  "uml beside ext4+prjquota": 230,
};
const USUAL_COST = 100;

/** The folders whose cases start engines, and mostly wait for them. */
const ENGINES = ["engines", "peers", "services"];

/**
 * The files that start a service in a guest. On newer kernels for guests, threads of services
 * sometimes stopped: one waited for another that was not woken.
 */
const SERVICES = /\/(containerd_suite|docker_suite|docker_plugin|service)_test\.ts$/;

/** The files whose cases are about pools and devices more than about layers. */
const POOLS = /\/(pool|device_set|device_store|stored|interrupted)_test\.ts$/;

/** The suite that runs a file. It has the cases of one or a few folders in one environment. */
function suiteOf(file: string, { kernel, fs }: Environment): string {
  const [, folder] = file.split("/");
  if (ENGINES.includes(folder)) return folder;
  if (kernel === "uml" && SERVICES.test(file)) return "peers";
  // They take as long as all others in a guest together.
  if (kernel === "uml" && /\/docker\w*_test\.ts$/.test(file)) return "beside";
  // These take as long as all others in a guest together, too.
  if (kernel === "uml" && /(kill|full_disk|power_cuts)_test\.ts$/.test(file)) return "kills";
  // A guest's image is in its memory, and grows with the data that its cases write.
  if (kernel === "uml" && /\/devicemapper/.test(file)) {
    return fs === "xfs+pquota" && POOLS.test(file) ? "pools" : "devicemapper";
  }
  // Cases of all drivers, and of pools; what needs Debian 12's overlay is in overlay2's own.
  if (kernel === "uml" && fs === "ext4+prjquota" && !file.includes("/overlay2/")) return "shared";
  if (folder === "drivers" || kernel === "uml" || fs !== "ext4") return "drivers";
  return COMMANDS.test(file) ? "commands" : "general";
}

/** All stages. Each file is in a stage for each environment that it names. */
function allStages(): Weighted[] {
  const stages = new Map<string, Weighted & { files: string[] }>();
  for (const file of testFiles()) {
    const text = Deno.readTextFileSync(join(TOP, file));
    for (const environment of environmentsOf(text, file, IS_LONG)) {
      const { kernel, fs } = environment;
      const suite = suiteOf(file, environment);
      const name = title({ kernel, suite, fs });
      const waits = kernel === "native" && ENGINES.includes(suite);
      const cost = COSTS[name] ?? USUAL_COST;
      const stage = stages.get(name) ?? { kernel, suite, fs, files: [], cost, waits };
      stage.files.push(file);
      stages.set(name, stage);
    }
  }
  return [...stages.values()];
}

/** The stages of each part. */
const PARTS: Readonly<Record<string, (stage: Weighted) => boolean>> = {
  native: ({ kernel, suite }) => kernel === "native" && suite !== "engines",
  uml: ({ kernel }) => kernel === "uml",
  engines: ({ suite }) => suite === "engines",
  quick: ({ kernel, fs, waits }) => kernel === "native" && fs === "ext4" && !waits,
};

/** The stages of some parts, the longest first. */
function stagesOf(parts: readonly string[]): Weighted[] {
  const stages = allStages()
    .filter((stage) => parts.some((part) => PARTS[part]?.(stage)))
    .sort((a, b) => b.cost - a.cost);
  if (!parts.includes("quick")) return stages;
  const isQuick = (file: string) => !ROUNDS.test(file) && !LONG.test(file);
  return stages.map((stage) => ({ ...stage, files: stage.files.filter(isQuick) }));
}

/**
 * Separates the files that must run alone from the stages on this machine. A guest has its own
 * kernel.
 */
function separate(plans: readonly Weighted[]): { alone: Plan[]; together: Weighted[] } {
  const alone: Plan[] = [], together: Weighted[] = [];
  for (const plan of plans) {
    const isAlone = (file: string) => plan.kernel === "native" && KERNEL_WIDE.includes(file);
    const files = plan.files.filter(isAlone);
    alone.push({ ...plan, suite: `${plan.suite} alone`, files });
    together.push({ ...plan, files: plan.files.filter((file) => !isAlone(file)) });
  }
  return { alone, together };
}

/** A command of Deno, as a stage with one case. */
const deno = (name: string, ...args: string[]) => ({ name, args: [Deno.execPath(), ...args] });

/** Format, lint and types. */
const CHECKS = [
  deno("deno fmt", "fmt", "--check"),
  deno("deno lint", "lint", "--quiet"),
  deno("deno check", "check", "--quiet", "--frozen"),
  deno("deno doc", "doc", "--lint", "--quiet", "mod.ts"),
];

/**
 * Builds the programs that cases start: the bundled program, which starts in half the time, and the
 * suites of engines.
 */
const builds = ({ bundle, suites }: Built) => [
  deno(
    "bundle",
    "run",
    "-A",
    "--quiet",
    "--no-check",
    "--frozen",
    "tools/bundle.ts",
    bundle,
    "run",
  ),
  ...suites.map(({ suite, path }) => ({ name: suite.name, args: buildingSuite(suite, path) })),
];

/** Runs programs side by side, each as a stage with one case. */
async function runPrograms(programs: { name: string; args: string[] }[]): Promise<Stage[]> {
  return await Promise.all(programs.map(async ({ name, args }) => {
    const { code, seconds, log } = await keep(args);
    const outcome = code === 0 ? "passed" : "failed";
    const cases: Case[] = [{ file: "Makefile", name, outcome }];
    return announce({ kernel: "native", suite: name, fs: "", code, seconds, log, cases });
  }));
}

/** The programs that are built before the tests. */
interface Built {
  /** The directory of the program. */
  readonly bundle: string;
  /** The programs of suites that can be built and are needed. */
  readonly suites: readonly { readonly suite: SuiteProgram; readonly path: string }[];
}

/** Directories of a run. */
interface Places {
  /** The directory for images. */
  readonly images: string;
  /** The directory for the results of stages. */
  readonly results: string;
}

/** The suites of guests that a newer kernel runs, which takes half of the time. */
const ON_NEWER = ["devicemapper", "shared", "kills", "beside"];

/**
 * Whether a stage runs on Debian 12's kernel. Both kernels are used: Debian 12's for overlay2, for
 * services, and on xfs for pools, quotas and kills.
 */
const needsOldKernel = ({ suite, fs }: Plan) =>
  !ON_NEWER.includes(suite) || suite === "kills" && fs === "xfs+pquota";

/** The number of stages that ran natively. */
let started = 0;

/** Runs a stage in its own process, here or as a guest, and reads its results. */
async function runPlan(plan: Plan, { images, results }: Places): Promise<Stage> {
  const stage = [
    Deno.execPath(),
    "run",
    "--quiet",
    "--allow-all",
    "--no-check",
    "tests/runner/stage.ts",
  ];
  const seconds = STAGE_SECONDS + MARGIN_SECONDS;
  if (plan.kernel === "uml") {
    const kernel = needsOldKernel(plan) ? [] : newerKernel();
    const uml = ["tools/uml", "-C", TOP, ...kernel, "-m", "4G", "-t", `${seconds}`];
    const args = [...uml, ...stage, JSON.stringify(plan), "/tmp", results];
    const run = async () => readStage(plan, results, await keep(args, seconds + MARGIN_SECONDS));
    const first = await run();
    if (!hasCrashed(first)) return first;
    // The runtime has crashed in a guest ("unreachable code"), and never natively, where a fault of
    // the project's own calls would show as well.
    console.log(`${title(plan)}: the runtime crashed in the guest, and the stage is run again:`);
    console.log(first.log.trimEnd());
    forgetStage(plan, results);
    return run();
  }
  // A short name, because tests make Unix sockets below it, whose paths have at most 107 bytes
  // (unix(7)).
  const directory = join(images, `${started++}`);
  Deno.mkdirSync(directory);
  const args = ["tools/isolated", ...stage, JSON.stringify(plan), directory, results];
  return readStage(plan, results, await keep(args, seconds));
}

/** Runs stages, several at a time. */
async function runAll(plans: readonly Plan[], places: Places, atOnce: number): Promise<Stage[]> {
  const queue = plans.filter(({ files }) => files.length > 0);
  const stages: Stage[] = [];
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      stages.push(announce(await runPlan(next, places)));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return stages;
}

/** Prints a stage's line, and its output if it failed. */
function announce(stage: Stage): Stage {
  const { passed, failed, skipped } = addUp([stage]);
  const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  const cpu = stage.cpuSeconds === undefined ? "" : `, ${stage.cpuSeconds.toFixed(0)} s of CPU`;
  console.log(`${title(stage).padEnd(32)} ${counts}  (${stage.seconds.toFixed(1)} s${cpu})`);
  if (failed > 0) console.log(stage.log.trimEnd());
  return stage;
}

/** The drivers without a passed case. aufs is left out, because few kernels have it. */
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

/** A stage for errors that the runner itself has found. */
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
  // A guest has its own directories for temporary files, so files that it shares with this machine
  // are here.
  const dist = join(TOP, "dist");
  Deno.mkdirSync(dist, { recursive: true });
  using shared = openWorkspace("test.", { base: dist });
  using images = openWorkspace("veneer.", { inMemory: true });
  const plans = stagesOf(parts);
  const isQuick = parts.includes("quick");
  if (isQuick) Deno.env.set("VENEER_TEST_QUICK", "1");
  const isNeeded = (suite: SuiteProgram) =>
    plans.some(({ files }) => files.some((file) => suite.files.test(file)));
  const built: Built = {
    bundle: join(shared.directory, "js"),
    suites: SUITE_PROGRAMS
      .filter((suite) => isNeeded(suite) && lacksSuite(suite) === undefined)
      .map((suite) => ({ suite, path: join(shared.directory, suite.variable) })),
  };
  const places = { images: images.directory, results: join(shared.directory, "results") };
  Deno.mkdirSync(places.results);
  const { alone, together } = separate(plans);
  const first = [runPrograms(builds(built)), runAll(alone, places, 1)];
  const stages = (await Promise.all(first)).flat();
  const words = (module: string) =>
    [Deno.execPath(), "run", "--allow-all", "--no-config", V8_FLAGS, join(built.bundle, module)]
      .join(" ");
  Deno.env.set("VENEER_TEST_PROGRAM", words("main.js"));
  Deno.env.set("VENEER_TEST_SERVER", words("tests/support/program_server.js"));
  for (const { suite, path } of built.suites) Deno.env.set(suite.variable, path);
  // The inner loop has few stages: all begin at once, so that they end together.
  const atOnce = isQuick ? together.length : navigator.hardwareConcurrency;
  const beside = await Promise.all([
    runPrograms(CHECKS),
    runAll(together.filter(({ waits }) => !waits), places, atOnce),
    runAll(together.filter(({ waits }) => waits), places, 1),
  ]);
  stages.push(...beside.flat());
  const named = sharedNames(stages)
    .map((name): Case => ({
      file: "tests",
      name: `two cases are named ${name}`,
      outcome: "failed",
    }));
  if (named.length > 0) stages.push(ownStage(named));
  const isWhole = ["native", "uml"].every((part) => parts.includes(part));
  const silent = isWhole ? unheard(stages) : [];
  console.log(summary(stages, silent, { isWhole }));
  return addUp(stages).failed > 0 || silent.length > 0 ? 1 : 0;
}

Deno.exit(await main(Deno.args.length > 0 ? Deno.args : ["native", "uml"]));
