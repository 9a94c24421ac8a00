/**
 * Measuring two ways of doing one thing against each other.
 *
 * Only ratios mean anything: the machine is whatever it is. The contenders take turns, so that what else the
 * machine does hits all of them, each from a clean page-out state (`sync` before every turn), and medians are
 * compared.
 *
 * @module
 */
import { isFigure, median, type Row, spreadOf } from "./results.ts";

/** One way of doing it. */
export interface Contender {
  readonly name: string;
  /** Not measured: makes what the turn needs. */
  readonly before?: () => void | Promise<void>;
  readonly run: () => void | Promise<void>;
  /** Not measured: undoes the turn. */
  readonly after?: () => void | Promise<void>;
}

/** What a contender took, in milliseconds. */
export interface Result {
  readonly name: string;
  readonly median: number;
  readonly all: readonly number[];
}

/** Lets the contenders take turns; the first of them is the one that the others are compared with. */
export async function compare(contenders: readonly Contender[], turns: number): Promise<Result[]> {
  const times = contenders.map(() => [] as number[]);
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, contender] of contenders.entries()) {
      await contender.before?.();
      new Deno.Command("sync").outputSync();
      const start = performance.now();
      await contender.run();
      times[i].push(performance.now() - start);
      await contender.after?.();
    }
  }
  return contenders.map(({ name }, i) => ({ name, median: median(times[i]), all: times[i] }));
}

/**
 * Prints each contender's median and its ratio to the reference, with the aim where there is one, and hands the ratios
 * to `main.ts`. A ratio of turns that differ too much is marked.
 */
export function report(
  title: string,
  results: readonly Result[],
  reference: string,
  aim = "",
): void {
  const base = results.find(({ name }) => name === reference)!;
  console.log(`\n${title}${aim && `   (aim: ${aim})`}`);
  for (const { name, median, all } of results) {
    const times = `${format(Math.min(...all))} to ${format(Math.max(...all))}`;
    const row: Row = {
      what: title,
      name,
      against: reference,
      ratio: median / base.median,
      spread: Math.max(spreadOf(all), spreadOf(base.all)),
      aim,
    };
    const doubt = isFigure(row)
      ? ""
      : all.length < 2
      ? "   one turn"
      : "   no figure: turns differ";
    const ratio = row.ratio.toFixed(2).padStart(6);
    console.log(
      `  ${name.padEnd(44)} ${ratio}   ${format(median).padStart(9)}  (${times})${doubt}`,
    );
    if (name !== reference) keep(row);
  }
}

/** Adds a row to the file that `main.ts` names, if it does. */
function keep(row: Row): void {
  const path = Deno.env.get("VENEER_BENCH_ROWS");
  if (path !== undefined) {
    Deno.writeTextFileSync(path, `${JSON.stringify(row)}\n`, { append: true });
  }
}

function format(milliseconds: number): string {
  return milliseconds >= 10
    ? `${milliseconds.toFixed(0)} ms`
    : `${(milliseconds * 1000).toFixed(0)} µs`;
}

/** Runs a program to its end with its output thrown away; it must succeed. */
export function run(program: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(program, { args, stdout: "null", stderr: "piped" })
    .outputSync();
  if (!success) {
    throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
}

/** Runs a program and returns the largest resident memory it had, in MiB (`VmHWM`, proc(5)). */
export async function peakMemory(program: string, ...args: string[]): Promise<number> {
  const child = new Deno.Command(program, { args, stdout: "null", stderr: "null" }).spawn();
  let peak = 0;
  const timer = setInterval(() => {
    try {
      const status = Deno.readTextFileSync(`/proc/${child.pid}/status`);
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }, 5);
  await child.status;
  clearInterval(timer);
  return peak / 1024;
}
