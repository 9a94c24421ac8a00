/** The runner's results: reads them, adds them up, and makes the summary. */
import { parseSkipped } from "../support/cases.ts";

export interface Case {
  readonly file: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** The reason why it was skipped. */
  readonly reason?: string;
  readonly seconds?: number;
}

/** One suite on one file system under one kernel. */
export interface Stage {
  readonly kernel: "native" | "uml";
  readonly suite: string;
  /** `""` if it does not matter. */
  readonly fs: string;
  /** The exit status. */
  readonly code: number;
  readonly seconds: number;
  /** The CPU time in seconds. On a busy machine it is more useful than the elapsed time. */
  readonly cpuSeconds?: number;
  /** Its whole output. */
  readonly log: string;
  readonly cases: readonly Case[];
}

/**
 * Reads the JUnit file of `deno test`: each `testcase` is empty or contains a `failure` or a
 * `skipped`.
 */
export function parseJunit(xml: string): Case[] {
  const testcase =
    /<testcase name="([^"]*)" classname="([^"]*)" time="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g;
  return [...xml.matchAll(testcase)].map(([, title, file, time, body]): Case => {
    const { name, reason } = parseSkipped(unescapeXml(title));
    const outcome = /<(failure|error)\b/.test(body)
      ? "failed"
      : body.includes("<skipped")
      ? "skipped"
      : "passed";
    return { file: unescapeXml(file), name, outcome, reason, seconds: Number(time) };
  });
}

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

const unescapeXml = (text: string) =>
  text.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex ? parseInt(hex, 16) : Number(decimal));
  });

export interface Counts {
  passed: number;
  failed: number;
  /** Cases that ran nowhere. */
  skipped: number;
}

/**
 * Adds stages up. A case that was skipped in one stage and ran in another does not count as
 * skipped.
 */
export function addUp(stages: readonly Stage[]): Counts {
  const cases = stages.flatMap((stage) => stage.cases);
  const count = (outcome: Case["outcome"]) => cases.filter((it) => it.outcome === outcome).length;
  return { passed: count("passed"), failed: count("failed"), skipped: ranNowhere(stages).length };
}

/**
 * The cases that every stage skipped, each once. A case is identified by its name, because `deno
 * test` reports the file that registers it, which may be a helper: see {@linkcode sharedNames}.
 */
export function ranNowhere(stages: readonly Stage[]): Case[] {
  const cases = stages.flatMap((stage) => stage.cases);
  const ran = new Set(cases.filter(({ outcome }) => outcome !== "skipped").map(subject));
  const skipped = cases.filter((it) => it.outcome === "skipped" && !ran.has(subject(it)));
  return [...new Map(skipped.map((it) => [subject(it), it])).values()];
}

/**
 * The subject of a case: its name, without the file system if there is a case for each of several.
 */
const subject = ({ name }: Case) => name.replace(/ with (ext4|xfs|btrfs)(?=[ :])/, "");

/**
 * The names of several cases with the same environment: one of them could hide that another was
 * skipped.
 */
export function sharedNames(stages: readonly Stage[]): string[] {
  const places = Object.groupBy(stages, ({ kernel, fs }) => `${kernel} ${fs}`);
  return Object.values(places).flatMap((here = []) => {
    const seen = new Set<string>(), shared = new Set<string>();
    for (const { name } of here.flatMap(({ cases }) => cases)) {
      if (seen.has(name)) shared.add(name);
      seen.add(name);
    }
    return [...shared];
  });
}

/** The number of slowest cases in the summary, and the seconds that they take at least. */
const SLOWEST = 8, SLOW_SECONDS = 5;

/** The slowest cases, the slowest first. */
function slowest(stages: readonly Stage[]): string[] {
  const cases = stages.flatMap((stage) => stage.cases.map((it) => ({ ...stage, ...it })))
    .filter(({ seconds }) => seconds !== undefined && seconds >= SLOW_SECONDS)
    .sort((a, b) => b.seconds - a.seconds);
  return cases.slice(0, SLOWEST)
    .map(({ kernel, fs, name, seconds }) => `  ${seconds.toFixed(1)} s ${kernel} ${fs}: ${name}`);
}

/** The kind of run that a summary describes. */
export interface Run {
  /**
   * Whether every suite ran. If only a part ran, cases that ran nowhere are counted but not listed.
   */
  readonly isWhole: boolean;
}

/**
 * The summary: a table by file system, the cases that ran nowhere, those that failed, and the
 * count.
 */
export function summary(
  stages: readonly Stage[],
  silentDrivers: readonly string[],
  { isWhole }: Run,
): string {
  const lines = ["", "by file system:"];
  const places = new Set(stages.filter(({ fs }) => fs).map(({ kernel, fs }) => `${kernel} ${fs}`));
  for (const place of [...places].sort()) {
    const here = stages.filter(({ kernel, fs }) => `${kernel} ${fs}` === place);
    const { passed, failed, skipped } = addUp(here);
    lines.push(`  ${place.padEnd(20)} ${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
  const slow = slowest(stages);
  if (slow.length > 0) lines.push("slowest:", ...slow);
  const skipped = isWhole ? ranNowhere(stages) : [];
  if (skipped.length > 0) lines.push("ran nowhere:");
  for (const { name, reason } of skipped) {
    lines.push(`  ${name}: ${reason ?? "ignored without a reason"}`);
  }
  const failures = stages.flatMap((stage) =>
    stage.cases.filter(({ outcome }) => outcome === "failed").map((it) => ({ ...stage, ...it }))
  );
  if (failures.length > 0) lines.push("failed:");
  for (const { kernel, fs, file, name } of failures) {
    lines.push(`  ${[kernel, fs, file].filter(Boolean).join(" ")}: ${name}`);
  }
  for (const driver of silentDrivers) lines.push(`no case of the ${driver} driver passed`);
  const total = addUp(stages);
  lines.push(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return lines.join("\n");
}
