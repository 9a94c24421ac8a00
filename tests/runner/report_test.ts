/** The runner's arithmetic: no case may pass because it is not counted. */
import { assertEquals } from "@std/assert";
import {
  addUp,
  type Case,
  parseJunit,
  ranNowhere,
  sharedNames,
  type Stage,
  summary,
} from "./report.ts";

/** A shortened file of `deno test --junit-path`. */
const JUNIT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="5" failures="2" errors="0" time="0.009">
    <testsuite name="./j_test.ts" tests="5" disabled="1" errors="0" failures="2">
        <testcase name="a &lt;b&gt; &amp; &quot;c&quot;" classname="./j_test.ts" time="0.002" line="1" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="quota [skipped: the kernel has none]" classname="./j_test.ts" time="0.000" line="2" col="6">
            <skipped/>
        </testcase>
        <testcase name="fine" classname="./j_test.ts" time="0.000" line="3" col="6">
        </testcase>
    </testsuite>
</testsuites>`;

const stage = (fs: string, cases: Case[], code = 0): Stage => ({
  kernel: "native",
  suite: "drivers",
  fs,
  code,
  seconds: 0,
  log: "",
  cases,
});

const passed = (name: string): Case => ({ file: "f", name, outcome: "passed" });
const skipped = (name: string): Case => ({ file: "f", name, outcome: "skipped", reason: "why" });

Deno.test("results are read with their reasons", () => {
  assertEquals(parseJunit(JUNIT), [
    {
      file: "./j_test.ts",
      name: 'a <b> & "c"',
      outcome: "failed",
      reason: undefined,
      seconds: 0.002,
    },
    {
      file: "./j_test.ts",
      name: "quota",
      outcome: "skipped",
      reason: "the kernel has none",
      seconds: 0,
    },
    { file: "./j_test.ts", name: "fine", outcome: "passed", reason: undefined, seconds: 0 },
  ]);
});

Deno.test("a case counts as skipped, once, only if it ran nowhere", () => {
  const stages = [
    stage("ext4", [passed("a"), skipped("b"), skipped("c")]),
    stage("xfs", [passed("a"), passed("b"), skipped("c")]),
  ];
  assertEquals(addUp(stages), { passed: 3, failed: 0, skipped: 1 });
  assertEquals(ranNowhere(stages).map(({ name }) => name), ["c"]);
});

Deno.test("a case ran if it ran with another file system, and nothing else hides one", () => {
  const stages = [
    stage("ext4", [
      passed("dm with ext4: a"),
      passed("dm: b"),
      skipped("dm with ext4 snapshots: a"),
      passed("with xfsdump"),
    ]),
    stage("xfs", [
      skipped("dm with xfs: a"),
      skipped("dm with xfs: b"),
      skipped("dm with xfs: c"),
      skipped("dm with xfs snapshots: a"),
      skipped("with xfs"),
    ]),
  ];
  const names = ["dm with xfs snapshots: a", "dm with xfs: c", "with xfs"];
  assertEquals(ranNowhere(stages).map(({ name }) => name).sort(), names);
});

Deno.test("cases of one environment with the same name are found in any suite", () => {
  const names = [passed("a"), skipped("b"), skipped("a"), passed("a")];
  assertEquals(sharedNames([stage("ext4", names)]), ["a"]);
  const suites = [stage("ext4", [passed("a")]), {
    ...stage("ext4", [passed("a")]),
    suite: "peers",
  }];
  assertEquals(sharedNames(suites), ["a"]);
  assertEquals(sharedNames([stage("ext4", [passed("a")]), stage("xfs", [passed("a")])]), []);
});

Deno.test("the summary ends with the count and names cases that failed or ran nowhere", () => {
  const failed: Case = { file: "f", name: "d", outcome: "failed" };
  const slow: Case = { ...passed("a"), seconds: 5.25 };
  const stages = [stage("ext4", [slow, skipped("c"), failed], 1)];
  const first = [
    "",
    "by file system:",
    "  native ext4          1 passed, 1 failed, 1 skipped",
    "slowest:",
    "  5.3 s native ext4: a",
  ];
  const last = ["failed:", "  native ext4 f: d", "no case of the btrfs driver passed"];
  const count = "1 passed, 1 failed, 1 skipped";
  assertEquals(
    summary(stages, ["btrfs"], { isWhole: true }).split("\n"),
    [...first, "ran nowhere:", "  c: why", ...last, count],
  );
  assertEquals(
    summary(stages, ["btrfs"], { isWhole: false }).split("\n"),
    [...first, ...last, count],
  );
});
