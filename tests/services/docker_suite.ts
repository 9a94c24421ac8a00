/**
 * Runs Docker's own suite for graph drivers, compiled from Debian's packages of its sources, on the
 * plugin. A driver's test file registers it by {@linkcode dockerSuite}. Every case has to pass, and
 * none is skipped.
 */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { mountPoints, must, needs, run, tempDir } from "../support/cases.ts";
import { TestPlugin } from "./docker_support.ts";
import { buildingSuite, builtSuite, DOCKER_SUITE, lacksBuiltSuite } from "./suite_programs.ts";

/** The cases of Docker 20.10's suite, except that of sizes. */
const CASES = ["CreateEmpty", "CreateBase", "CreateSnap", "DeepLayerRead", "DiffApply", "Changes"];

/** The options for running the suite on a driver. */
export interface DockerSuiteSubject {
  /** The requirement of the driver that is missing here. */
  readonly lacking: string | undefined;
  /** Whether layers can have a size here. */
  readonly hasSizes: boolean;
  /** The store's options, as for `-o`. */
  readonly options?: readonly string[];
}

/** Registers a case that runs the suite on a driver. */
export function dockerSuite(
  driver: string,
  { lacking, hasSizes, options = [] }: DockerSuiteSubject,
): void {
  needs(
    lacking ?? lacksBuiltSuite(DOCKER_SUITE),
    `docker plugin: Docker's own suite of graph drivers, on ${driver}`,
    async () => {
      using build = tempDir("suite-");
      const built = join(build.path, "suite");
      const program = builtSuite(DOCKER_SUITE) ?? built;
      if (program === built) must(...buildingSuite(DOCKER_SUITE, built));
      const words = options.flatMap((option) => ["-o", option]);
      await using plugin = await TestPlugin.bare(driver, ...words);
      const temporary = join(plugin.directory.path, "tmp");
      Deno.mkdirSync(temporary);
      const { stdout, stderr } = run(
        ...["env", `TMPDIR=${temporary}`, program, "-address", plugin.address] as const,
        ...["-test.v", `-quota=${hasSizes}`],
      );
      // The case of sizes leaves these.
      for (const id of ["suiteTest", "Base"]) await plugin.try("Remove", { ID: id });
      await plugin.try("Cleanup");
      const results = stdout.matchAll(/^ +--- (PASS|FAIL|SKIP): TestPlugin\/(\S+)/gm);
      const ended = Object.fromEntries(Array.from(results, ([, result, name]) => [name, result]));
      const expected = hasSizes ? [...CASES, "SetQuota"] : CASES;
      assertEquals(
        ended,
        Object.fromEntries(expected.map((name) => [name, "PASS"])),
        stdout + stderr + plugin.process.log,
      );
      assertEquals(await plugin.process.end(), 0);
      assertEquals(mountPoints(temporary), []);
    },
  );
}
