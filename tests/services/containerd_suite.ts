/**
 * Runs containerd's own suite for snapshotters, compiled from Debian's packages of its sources, on
 * the service. A driver's test file registers it by {@linkcode containerdSuite}. Every case has to
 * pass, except one that the suite itself always skips.
 */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { must, needs, run, type TempDir, tempDir, unmountBelow } from "../support/cases.ts";
import { openSnapshotter } from "../support/drivers.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { buildingSuite, builtSuite, CONTAINERD_SUITE, lacksBuiltSuite } from "./suite_programs.ts";
import { TestService } from "./service_support.ts";

/** The suite's program, which the runner has built for all stages. */
const BUILT = builtSuite(CONTAINERD_SUITE);

/** The cases of containerd 1.6's suite. It skips `Rename` with every snapshotter. */
const CASES = [
  "Basic",
  "StatActive",
  "TransitivityTest",
  "StatComitted",
  "PreareViewFailingtest",
  "RemoveIntermediateSnapshot",
  "Update",
  "Remove",
  "Walk",
  "LayerFileupdate",
  "RemoveDirectoryInLowerLayer",
  "Chown",
  "DirectoryPermissionOnCommit",
  "DeletedFilesInChildSnapshot",
  "MoveFileFromLowerLayer",
  "ViewReadonly",
  "StatInWalk",
  "CloseTwice",
  "RootPermission",
  "128LayersMount",
];
const EXPECTED = {
  ...Object.fromEntries(CASES.map((name) => [name, "PASS"])),
  Rename: "SKIP",
};

/** The options for running the suite on a driver. */
export interface SuiteSubject {
  /** The requirement of the driver that is missing here. */
  readonly lacking: string | undefined;
  /** The store's options, as for `-o`. */
  readonly options?: readonly string[];
}

/** Registers a case that runs the suite on a driver. */
export function containerdSuite(
  driver: string,
  { lacking, options = [] }: SuiteSubject,
): void {
  const words = options.flatMap((option) => ["-o", option]);
  needs(
    lacking ?? lacksBuiltSuite(CONTAINERD_SUITE),
    `service: containerd's own suite of snapshotters, on ${[driver, ...words].join(" ")}`,
    async () => {
      await using service = await TestService.on(driver, ...words);
      using build = BUILT === undefined ? tempDir("suite-") : undefined;
      try {
        checkSuite(service, BUILT ?? built(build!));
      } finally {
        await service.process.end();
        removeAll(service, options);
      }
    },
  );
}

/** Removes every snapshot of a store, and releases the driver's resources. */
function removeAll({ root, driver }: TestService, options: readonly string[]): void {
  const warnings: string[] = [];
  const snapshotter = openSnapshotter({
    root: join(root, "services/veneer"),
    driver,
    options,
    idMaps: IDENTITY,
    warn: (message) => warnings.push(message),
  });
  try {
    for (let left = [...snapshotter.walk()]; left.length > 0; left = [...snapshotter.walk()]) {
      const parents = new Set(left.map(({ parent }) => parent));
      for (const { name } of left) if (!parents.has(name)) snapshotter.remove(name);
    }
    snapshotter.cleanup();
  } finally {
    snapshotter.close();
  }
  assertEquals(warnings, []);
}

function built({ path }: TempDir): string {
  const program = join(path, "suite");
  must(...buildingSuite(CONTAINERD_SUITE, program));
  return program;
}

function checkSuite(service: TestService, program: string): void {
  const directory = service.directory.path, temporary = join(directory, "tmp");
  Deno.mkdirSync(temporary);
  const words = [program, "-address", service.address, "-test.v", "-test.root"];
  const { stdout, stderr } = run("env", "-C", directory, `TMPDIR=${temporary}`, ...words);
  unmountBelow(temporary); // Failed cases may have left mounts.
  const results = stdout.matchAll(/^ +--- (PASS|FAIL|SKIP): TestService\/(\S+)/gm);
  const ended = Object.fromEntries(Array.from(results, ([, result, name]) => [name, result]));
  assertEquals(ended, EXPECTED, stdout + stderr + service.process.log);
}
