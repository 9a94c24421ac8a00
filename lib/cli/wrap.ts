/**
 * Wraps text to the width of a terminal.
 *
 * @module
 */

/** The columns of text if there is no terminal. */
export const WIDTH_OF_TEXT = 110;

/** Fills lines of at most `columns` columns with words; a longer word has its own line. */
export function wrapWords(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** Returns the lines of a text. If one of them is too wide, all lines are joined and wrapped. */
export function wrapText(text: string, columns: number): string[] {
  const lines = text.split("\n");
  if (lines.every((line) => line.length <= columns)) return lines;
  return wrapWords(lines.join(" "), columns);
}

/**
 * The present width of the terminal on standard output; without a terminal
 * {@linkcode WIDTH_OF_TEXT}.
 */
export function outputColumns(): number {
  if (!Deno.stdout.isTerminal()) return WIDTH_OF_TEXT;
  try {
    return Deno.consoleSize().columns || WIDTH_OF_TEXT;
  } catch {
    return WIDTH_OF_TEXT;
  }
}
