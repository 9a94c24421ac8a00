/**
 * Shortens tables for a terminal: ids of engines are shortened, and lines are cut at its width.
 *
 * @module
 */
import type { Rows } from "./columns.ts";
import { outputColumns } from "./wrap.ts";

/** The digits of a shortened id, as many as Docker shows. */
const KEPT = 12;

/** Shortens all ids of 64 hexadecimal digits in rows, except ids with the same beginning. */
export function shortenIds(rows: Rows): Rows {
  const shorten = shortener(rows.flat());
  return rows.map((row) => row.map(shorten));
}

/** Returns a function that does this in a text. @param texts all texts that are shown */
export function shortener(texts: readonly string[]): (text: string) => string {
  const ids = new Set(texts.flatMap((text) => text.match(ID) ?? []));
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(start(id), (counts.get(start(id)) ?? 0) + 1);
  const shorten = (id: string) => counts.get(start(id)) === 1 ? start(id) : id;
  return (text) => text.replace(ID, shorten);
}

/** The form of ids, and the width of lines. */
export interface Screen {
  readonly shorten: (text: string) => string;
  readonly columns: number;
}

/**
 * The form for standard output. Only on a terminal, and unless `isWhole`, ids and lines are
 * shortened. @param ids all ids that are shown
 */
export function screenFor(ids: readonly string[], isWhole: boolean): Screen {
  if (isWhole || !Deno.stdout.isTerminal()) return { shorten: (text) => text, columns: Infinity };
  return { shorten: shortener(ids), columns: outputColumns() };
}

const ID = /\b[0-9a-f]{64}\b/g;
const start = (id: string) => id.slice(0, KEPT);

/** Cuts a line to at most `columns` columns. Lines that are not ASCII are not cut. */
export function cutLine(line: string, columns: number): string {
  if (line.length <= columns || /[^ -~]/.test(line)) return line;
  return `${line.slice(0, Math.max(0, columns - 1))}…`;
}
