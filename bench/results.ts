/**
 * The figures of the last runs, in `bench/results.md`: a section for each bench and file system, which a new run of
 * that bench replaces.
 *
 * @module
 */

/** The file of results, relative to the project. */
export const RESULTS = "bench/results.md";

/** The spread above which a ratio is not a figure: the turns differ too much to say what it is. */
export const MOST_SPREAD = 0.3;

/** One contender against the one that it is compared with. */
export interface Row {
  /** The work that both did. */
  readonly what: string;
  readonly name: string;
  readonly against: string;
  /** Its median as a share of the other's. */
  readonly ratio: number;
  /** The larger one of both spreads; see {@linkcode spreadOf}. */
  readonly spread: number;
  readonly aim: string;
}

/** What one bench measured on one file system. */
export interface Section {
  /** As in `overlay2 on ext4`. */
  readonly title: string;
  /** When, on what machine, with which program. */
  readonly facts: string;
  readonly rows: readonly Row[];
}

/** The middle value; of an even number, that between the two middle ones. */
export function median(values: readonly number[]): number {
  return quantile(values, 1 / 2);
}

/** The width of the middle half of some times, as a share of their median. Of a single one it is unknown: 1. */
export function spreadOf(values: readonly number[]): number {
  if (values.length < 2) return 1;
  return (quantile(values, 3 / 4) - quantile(values, 1 / 4)) / median(values);
}

/** Between two values, in proportion. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share, below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

/** Whether the turns of a row agree enough for its ratio to be a figure. */
export function isFigure({ spread }: Row): boolean {
  return spread <= MOST_SPREAD;
}

const HEAD = `# Results

The last runs of \`make bench\`, written by it. A ratio is the median time of the one as a share of the
other's: below 1, it took less. The spread is the width of the middle half of the turns, as a share of
the median, of that side where it is larger; a ratio with a spread above ${
  percent(MOST_SPREAD)
} is no figure, and stands in
brackets.
`;

const COLUMNS = ["what", "program", "against", "ratio", "spread", "aim"];

/** The file's text. */
export function formatResults(sections: readonly Section[]): string {
  return [HEAD, ...sections.map(formatSection)].join("\n");
}

function formatSection({ title, facts, rows }: Section): string {
  const cells = rows.map((row) => {
    const ratio = row.ratio.toFixed(2);
    const { what, name, against, spread, aim } = row;
    return [what, name, against, isFigure(row) ? ratio : `(${ratio})`, percent(spread), aim];
  });
  const lines = [COLUMNS, COLUMNS.map(() => "---"), ...cells]
    .map((line) => `| ${line.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
  return `## ${title}\n\n${facts}\n\n${lines.join("\n")}\n`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** Reads what {@linkcode formatResults} wrote, also after a formatter has aligned its tables. */
export function parseResults(text: string): Section[] {
  return text.split(/^## /m).slice(1).map((section) => {
    const [title, ...rest] = section.split("\n");
    const [cells, text] = [true, false].map((isCell) =>
      rest.filter((line) => line !== "" && line.startsWith("|") === isCell)
    );
    return { title, facts: text.join(" "), rows: cells.slice(2).map(parseRow) };
  });
}

function parseRow(line: string): Row {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
  const [what, name, against, ratio, spread, aim] = cells;
  return {
    what,
    name,
    against,
    ratio: Number(ratio.replaceAll(/[()]/g, "")),
    spread: Number(spread.replace(" %", "")) / 100,
    aim,
  };
}

/** The sections with those of a new run in place of the earlier ones of the same titles. */
export function merged(sections: readonly Section[], added: readonly Section[]): Section[] {
  const all = new Map([...sections, ...added].map((section) => [section.title, section]));
  return [...all.values()];
}
