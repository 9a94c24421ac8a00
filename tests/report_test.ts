/** The runner's arithmetic: nothing may pass by not being counted. */
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

/** As `deno test --junit-path` writes it, cut short. */
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
    { file: "./j_test.ts", name: 'a <b> & "c"', outcome: "failed", reason: undefined },
    { file: "./j_test.ts", name: "quota", outcome: "skipped", reason: "the kernel has none" },
    { file: "./j_test.ts", name: "fine", outcome: "passed", reason: undefined },
  ]);
});

Deno.test("a case that ran somewhere is not skipped, one that ran nowhere is, once", () => {
  const stages = [
    stage("ext4", [passed("a"), skipped("b"), skipped("c")]),
    stage("xfs", [passed("a"), passed("b"), skipped("c")]),
  ];
  assertEquals(addUp(stages), { passed: 3, failed: 0, skipped: 1 });
  assertEquals(ranNowhere(stages).map(({ name }) => name), ["c"]);
});

Deno.test("cases that share a name are found", () => {
  assertEquals(sharedNames([passed("a"), skipped("b"), skipped("a"), passed("a")]), ["a"]);
});

Deno.test("the summary ends with the count and names what failed and what ran nowhere", () => {
  const failed: Case = { file: "f", name: "d", outcome: "failed" };
  const text = summary([stage("ext4", [passed("a"), skipped("c"), failed], 1)], ["btrfs"]);
  assertEquals(text.split("\n"), [
    "",
    "by file system:",
    "  native ext4          1 passed, 1 failed, 1 skipped",
    "ran nowhere:",
    "  c: why",
    "failed:",
    "  native ext4 f: d",
    "no case of the btrfs driver passed",
    "1 passed, 1 failed, 1 skipped",
  ]);
});
