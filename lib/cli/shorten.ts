/**
 * Tables for a terminal: ids that engines make are shortened, and lines end at its edge.
 *
 * @module
 */
import type { Rows } from "./columns.ts";
import { outputColumns } from "./wrap.ts";

/** The digits of a shortened id that are left, as Docker shows them. */
const KEPT = 12;

/**
 * Rows with ids of 64 hexadecimal digits shortened, wherever they stand. Ids that begin alike stay
 * whole.
 */
export function shortenIds(rows: Rows): Rows {
  const shorten = shortener(rows.flat());
  return rows.map((row) => row.map(shorten));
}

/** A function that does so in a text, where these are all texts that are shown. */
export function shortener(texts: readonly string[]): (text: string) => string {
  const ids = new Set(texts.flatMap((text) => text.match(ID) ?? []));
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(start(id), (counts.get(start(id)) ?? 0) + 1);
  const shorten = (id: string) => counts.get(start(id)) === 1 ? start(id) : id;
  return (text) => text.replace(ID, shorten);
}

/** How ids are shown, and how wide lines may be. */
export interface Screen {
  readonly shorten: (text: string) => string;
  readonly columns: number;
}

/** The terminal, if there is one and not all is wanted. @param ids all that are shown */
export function screenFor(ids: readonly string[], isWhole: boolean): Screen {
  if (isWhole || !Deno.stdout.isTerminal()) return { shorten: (text) => text, columns: Infinity };
  return { shorten: shortener(ids), columns: outputColumns() };
}

const ID = /\b[0-9a-f]{64}\b/g;
const start = (id: string) => id.slice(0, KEPT);

/** A line that ends before `columns`. Only for lines of one column a character. */
export function cutLine(line: string, columns: number): string {
  if (line.length <= columns || /[^ -~]/.test(line)) return line;
  return `${line.slice(0, Math.max(0, columns - 1))}…`;
}
