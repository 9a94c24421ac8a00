/** The file of measured figures, and the chart of it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  formatResults,
  isFigure,
  merged,
  parseResults,
  type Row,
  type Section,
  spreadOf,
} from "../../bench/results.ts";
import { resultsChart } from "../../tools/docs/results_chart.ts";

const row = (changes: Partial<Row> = {}): Row => ({
  what: "diff, 2 files",
  name: "veneer diff | cat",
  against: "tar -c | cat",
  ratio: 0.62,
  spread: 0.05,
  aim: "0.75",
  ...changes,
});

const section = (title: string, ...rows: Row[]): Section => ({
  title,
  facts: "2026-11-29, Linux 6.1",
  rows,
});

Deno.test("the spread is the width of the middle half, as a share of the median", () => {
  assertEquals(spreadOf([10, 10, 10]), 0);
  // The ends do not count: each machine hiccups now and then.
  assertEquals(spreadOf([1, 9, 10, 11, 90]), 0.2);
  assertEquals(spreadOf([7]), 1);
  assertEquals([0.3, 0.31].map((spread) => isFigure(row({ spread }))), [true, false]);
});

Deno.test("results are read as they were written", () => {
  const sections = [
    section("overlay2 on ext4", row(), row({ ratio: 1.5, spread: 0.4, aim: "" })),
    section("btrfs on btrfs", row({ what: "changes" })),
  ];
  const text = formatResults(sections);
  assertEquals(parseResults(text), sections);
  // A formatter wraps long lines, and aligns tables.
  const wrapped = text.replaceAll("2026-11-29, ", "2026-11-29,\n").replaceAll(
    "| 0.62",
    "| 0.62   ",
  );
  assertEquals(parseResults(wrapped), sections);
});

Deno.test("a run replaces what it measured again, and leaves the rest", () => {
  const old = [section("a", row()), section("b", row())];
  const again = section("b", row({ ratio: 0.5 }));
  assertEquals(merged(old, [again, section("c")]), [old[0], again, section("c")]);
});

Deno.test("the chart has a bar for each figure with an aim", () => {
  const text = resultsChart(formatResults([
    section(
      "x",
      row({ what: "fast" }),
      row({ what: "doubtful", spread: 0.9 }),
      row({ what: "aimless", aim: "" }),
      row({ what: "theirs", name: "other" }),
      row({ what: "slow", ratio: 7 }),
    ),
  ]));
  assertStringIncludes(text, "x: fast, veneer diff | cat");
  assertStringIncludes(text, "7.00 of tar -c | cat");
  for (const absent of ["doubtful", "aimless", "theirs"]) {
    assertEquals(text.includes(absent), false, absent);
  }
});
