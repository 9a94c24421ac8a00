/**
 * Tables for a terminal: ids that engines make are shortened, and lines end at its edge.
 *
 * @module
 */
import type { Rows } from "./columns.ts";

/** The digits of a shortened id that are left, as Docker shows them. */
const KEPT = 12;

/**
 * Rows with ids of 64 hexadecimal digits shortened, wherever they stand. Ids that begin alike stay
 * whole.
 */
export function shortenIds(rows: Rows): Rows {
  const ids = new Set(rows.flat().flatMap((cell) => cell.match(ID) ?? []));
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(start(id), (counts.get(start(id)) ?? 0) + 1);
  const shorten = (id: string) => counts.get(start(id)) === 1 ? start(id) : id;
  return rows.map((row) => row.map((cell) => cell.replace(ID, shorten)));
}

const ID = /\b[0-9a-f]{64}\b/g;
const start = (id: string) => id.slice(0, KEPT);

/** A line that ends before `columns`. Only for lines of one column a character. */
export function cutLine(line: string, columns: number): string {
  if (line.length <= columns || /[^ -~]/.test(line)) return line;
  return `${line.slice(0, Math.max(0, columns - 1))}…`;
}
