/** Reading the results of a stage: a stage without results, or with a wrong end, does not pass. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { addUp } from "./report.ts";
import { forgetStage, hasCrashed, type Kept, type Plan, readStage } from "./stage.ts";
import { tempDir } from "../support/cases.ts";
import { names } from "../support/files.ts";

const PLAN: Plan = { kernel: "uml", suite: "drivers", fs: "xfs", files: ["a_test.ts"] };
const ENDED: Kept = { code: 0, seconds: 2, log: "" };
const PASSED = '<testcase name="a" classname="f" time="0.002">\n</testcase>';
const FAILED = '<testcase name="b" classname="f" time="0.002"><failure>no</failure></testcase>';

/** Reads a stage with these results; `undefined` for a missing file. */
function read(xml?: string, ending?: Record<string, unknown>, program: Partial<Kept> = {}) {
  using dir = tempDir();
  const file = join(dir.path, "uml drivers xfs");
  if (xml !== undefined) Deno.writeTextFileSync(`${file}.xml`, xml);
  const whole = { code: 0, seconds: 1, cpuSeconds: 0.5, log: "said", left: [], ...ending };
  if (ending !== undefined) Deno.writeTextFileSync(`${file}.json`, JSON.stringify(whole));
  return readStage(PLAN, dir.path, { ...ENDED, ...program });
}

/** The names of the failed cases. */
const failures = (...of: Parameters<typeof read>) =>
  read(...of).cases.filter(({ outcome }) => outcome === "failed").map(({ name }) => name);

Deno.test("a stage's cases, time and output are read", () => {
  const stage = read(PASSED + FAILED, { code: 1 }, { log: ", and more" });
  assertEquals(addUp([stage]), { passed: 1, failed: 1, skipped: 0 });
  assertEquals([stage.seconds, stage.cpuSeconds, stage.log], [2, 0.5, "said, and more"]);
  assertEquals(failures(PASSED, {}), []);
});

Deno.test("a stage without results has failed, and so has one that took too long", () => {
  assertEquals(failures(undefined, undefined, { code: 98 }), ["the stage ended early (exit 98)"]);
  assertEquals(failures(undefined, undefined), ["the stage ended early (exit 0)"]);
  for (const code of [124, 137]) {
    assertEquals(failures(PASSED, undefined, { code }).length, 1);
    assertEquals(failures(undefined, undefined, { code })[0].startsWith("it took longer"), true);
  }
});

Deno.test("a stage without cases, with left-over mounts, or with a bad end has failed", () => {
  assertEquals(failures("", {}), ["it ran no case"]);
  assertEquals(failures(PASSED, { left: ["/a"] }), ["a case left /a mounted"]);
  assertEquals(failures(PASSED, { code: 1 }), ["it ended early"]);
  assertEquals(failures(PASSED, { code: 137 })[0].startsWith("it took longer"), true);
  assertEquals(failures(PASSED, {}, { code: 1 }), [
    "the stage does not come to its end (exit 1)",
  ]);
});

Deno.test("a crash of the runtime is told from a failed case, and its results are forgotten", () => {
  const panic = { log: "Deno has panicked. This is a bug in Deno." };
  assertEquals(hasCrashed(read(undefined, undefined, { code: 1, ...panic })), true);
  assertEquals(hasCrashed(read(PASSED, { code: 134, ...panic })), true);
  assertEquals(hasCrashed(read(PASSED + FAILED, { code: 1 })), false);
  assertEquals(hasCrashed(read(PASSED, panic)), false);
  using dir = tempDir();
  for (const name of ["uml drivers xfs.xml", "uml drivers xfs.json", "uml drivers ext4.xml"]) {
    Deno.writeTextFileSync(join(dir.path, name), "");
  }
  forgetStage(PLAN, dir.path);
  forgetStage(PLAN, dir.path);
  assertEquals(names(dir.path), ["uml drivers ext4.xml"]);
});
