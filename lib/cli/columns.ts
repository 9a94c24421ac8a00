/**
 * Tables: columns as wide as their widest cell.
 *
 * @module
 */

import { escapeControls } from "../base/printable.ts";

/** Lines of cells; a line may have fewer than another one. */
export type Rows = readonly (readonly string[])[];

/**
 * Lines of a table, two spaces between columns, none at the ends of lines. Widths are those that a
 * terminal shows. Cells may hold the words of an image or a store: control characters are escaped,
 * so that none reaches a terminal and a row is one line.
 */
export async function formatColumns(cells: Rows): Promise<string[]> {
  const rows = cells.map((row) => row.map(escapeControls));
  const widthOf = await widthFor(rows);
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, widthOf(cell));
  }
  const padded = (cell: string, i: number) => cell + " ".repeat(widths[i] - widthOf(cell));
  return rows.map((row) => row.map(padded).join("  ").trimEnd());
}

/**
 * The measure of these cells. Most tables are ASCII: string-width, which makes the tables of
 * Unicode's properties when it is loaded, takes a quarter of the CPU of `veneer ls`.
 */
async function widthFor(rows: Rows): Promise<(cell: string) => number> {
  if (rows.every((row) => row.every(isPrintableAscii))) return (cell) => cell.length;
  return (await import("string-width")).default;
}

function isPrintableAscii(cell: string): boolean {
  return !/[^ -~]/.test(cell);
}
