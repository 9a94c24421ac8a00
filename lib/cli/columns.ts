/**
 * Tables: columns as wide as their widest cell.
 *
 * @module
 */
import stringWidth from "string-width";

/**
 * Lines of a table, two spaces between columns, none at the ends of lines. Widths are those that a
 * terminal shows.
 */
export function formatColumns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, stringWidth(cell));
  }
  const padded = (cell: string, i: number) => cell + " ".repeat(widths[i] - stringWidth(cell));
  return rows.map((row) => row.map(padded).join("  ").trimEnd());
}
