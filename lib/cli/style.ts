/**
 * Colours and bold, if standard output is a terminal and NO_COLOR is not set.
 *
 * @module
 */

/** Select Graphic Rendition codes (ECMA-48): the codes that start and end each style. */
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;

export type Style = (name: keyof typeof STYLES, text: string) => string;

/** Returns the text without a style. */
export const plain: Style = (_name, text) => text;

const coloured: Style = (name, text) => {
  const [start, end] = STYLES[name];
  return `\x1b[${start}m${text}\x1b[${end}m`;
};

/** Whether a stream is a terminal that understands control sequences. */
export function hasControlSequences(stream: { isTerminal(): boolean }): boolean {
  return stream.isTerminal() && Deno.env.get("TERM") !== "dumb";
}

/** The style for a stream. If `NO_COLOR` (no-color.org) is set and not empty, it is plain. */
export function styleFor(stream: { isTerminal(): boolean }): Style {
  return hasControlSequences(stream) && !Deno.env.get("NO_COLOR") ? coloured : plain;
}
