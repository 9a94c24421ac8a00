/**
 * Text in lines that a terminal need not break.
 *
 * @module
 */

/** The columns of text that is not for a terminal. */
export const WIDTH_OF_TEXT = 110;

/** Words in lines of at most `columns`; a longer word has a line to itself. */
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

/** Text with its line breaks, each of its lines wrapped anew if one of them is too wide. */
export function wrapText(text: string, columns: number): string[] {
  const lines = text.split("\n");
  if (lines.every((line) => line.length <= columns)) return lines;
  return wrapWords(lines.join(" "), columns);
}

/** How wide the terminal behind standard output is now, or the width of text without one. */
export function outputColumns(): number {
  if (!Deno.stdout.isTerminal()) return WIDTH_OF_TEXT;
  try {
    return Deno.consoleSize().columns || WIDTH_OF_TEXT;
  } catch {
    return WIDTH_OF_TEXT;
  }
}
