/**
 * Tables: columns as wide as their widest cell.
 *
 * @module
 */

import { escapeControls } from "../base/printable.ts";

/** Lines of cells. Lines may have different numbers of cells. */
export type Rows = readonly (readonly string[])[];

/**
 * Returns the lines of a table, with two spaces between columns and none at the ends of lines.
 * Widths are those on a terminal. Cells may contain text of an image or a store, so control
 * characters are escaped: none reaches a terminal, and a row is one line.
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
 * Returns a function that measures these cells. Most tables are ASCII and need no string-width. It
 * makes tables of Unicode's properties when it is loaded, which takes a quarter of the CPU time of
 * `veneer ls`.
 */
async function widthFor(rows: Rows): Promise<(cell: string) => number> {
  if (rows.every((row) => row.every(isPrintableAscii))) return (cell) => cell.length;
  return (await import("string-width")).default;
}

function isPrintableAscii(cell: string): boolean {
  return !/[^ -~]/.test(cell);
}
