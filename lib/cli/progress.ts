/**
 * A progress bar for transfers, on standard error if that is a terminal.
 *
 * A frame ends with a newline, and the next frame moves back up over it. So the cursor is at the
 * start of an empty line, and a killed program leaves the terminal clean.
 *
 * @module
 */
import { formatSize } from "../base/sizes.ts";
import { hasControlSequences, plain, type Style, styleFor } from "./style.ts";

/** The least time between two frames, in milliseconds. */
const FRAME_INTERVAL = 100;

/** `CSI A` moves up a line, `CSI K` erases to the end of the line (ECMA-48). */
const UP = "\x1b[1A", ERASE = "\r\x1b[K";

/** The content of a frame. */
export interface Progress {
  readonly label: string;
  /** The transferred bytes. */
  readonly bytes: number;
  /** The bytes of the whole transfer, if known. */
  readonly total?: number;
  /** The time since the start, in seconds. */
  readonly seconds: number;
  /** The time since the last byte, in seconds, if the transfer is stalled. */
  readonly stalled?: number;
}

/** The seconds without a byte after which a transfer counts as stalled. */
const STALLED_AFTER = 2;

/** The spinner, for transfers of unknown size. */
const SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/** The characters of a label that are kept as long as other parts can be left out. */
const LEAST_LABEL = 16;

/**
 * Returns a frame of at most `columns` columns. On a narrow terminal the label is cut first; then
 * time and rate are left out.
 *
 * @param turn the position of the spinner
 */
export function formatProgress(
  { label, bytes, total, seconds, stalled }: Progress,
  columns: number,
  style: Style = plain,
  turn = 0,
): string {
  const rate = seconds > 0 ? bytes / seconds : 0;
  const speed = stalled === undefined
    ? `${steadySize(Math.round(rate))}/s`
    : `nothing came for ${formatTime(Math.floor(stalled))}`;
  if (!total) {
    const spinner = SPINNER[turn % SPINNER.length];
    const least = `${spinner} ${steadySize(bytes)}`;
    const brief = stalled === undefined ? [] : [`${least}  stalled`];
    return besideLabel(label, [`${least}  ${speed}`, ...brief, least], columns).join(" ").slice(
      0,
      columns,
    );
  }
  const part = Math.min(1, bytes / total);
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const left = rate > 0 && stalled === undefined
    ? `  ${formatTime((total - total * part) / rate)} left`
    : "";
  const counted = `${percent} ${steadySize(bytes)} of ${steadySize(total).trimStart()}`;
  const choices = [
    `${counted}  ${speed}${left}`,
    `${counted}${left}`,
    `${percent}${left}`,
    percent,
  ];
  const [shown, words] = besideLabel(label, choices, columns);
  const room = Math.min(40, columns - shown.length - words.length - 2);
  if (room < 8) return `${shown} ${words}`.slice(0, columns);
  const filled = Math.round(room * part);
  const bar = style("cyan", "━".repeat(filled)) + style("dim", "─".repeat(room - filled));
  return `${shown} ${bar} ${words}`;
}

/** The label, cut if necessary, and the first of some texts that leaves room for it. */
function besideLabel(
  label: string,
  choices: readonly string[],
  columns: number,
): [label: string, text: string] {
  const least = Math.min(label.length, LEAST_LABEL);
  const text = choices.find(({ length }) => least + 1 + length <= columns) ?? choices.at(-1)!;
  const room = Math.max(0, columns - text.length - 1);
  if (label.length <= room) return [label, text];
  return [room < 2 ? "" : `${label.slice(0, room - 1)}…`, text.slice(0, Math.max(0, columns - 1))];
}

/** A size in at least eight columns, so that the text after it keeps its place. */
function steadySize(bytes: number): string {
  const [number, unit] = formatSize(bytes).split(" ");
  const value = Number(number);
  const digits = unit === "B" || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`.padStart(8);
}

/** `1:07`, `2:03:04`. */
export function formatTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
}

/** The terminal that a bar draws on. */
export interface Screen {
  write(text: string): void;
  /** The present width. */
  columns(): number;
  readonly style: Style;
}

/** A bar that is redrawn in place. */
export class ProgressBar implements Disposable {
  readonly #started: number;
  #frames = 0;
  #bytes = 0;
  /** The time of the last byte. */
  #moved: number;
  #drawn = -Infinity;

  constructor(
    private readonly label: string,
    private readonly total: number | undefined,
    private readonly screen: Screen,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#started = this.#moved = now();
  }

  /** Sets the number of transferred bytes. To be called also while no bytes arrive. */
  update(bytes: number): void {
    const now = this.now();
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#moved = now;
    }
    if (now - this.#drawn < FRAME_INTERVAL) return;
    const seconds = (now - this.#started) / 1000, idle = (now - this.#moved) / 1000;
    const stalled = idle < STALLED_AFTER ? undefined : idle;
    const frame = formatProgress(
      { label: this.label, bytes, total: this.total, seconds, stalled },
      this.screen.columns() - 1,
      this.screen.style,
      this.#frames++,
    );
    this.screen.write(`${this.#goBack()}${frame}\n`);
    this.#drawn = now;
  }

  /** Removes the bar from the screen. */
  [Symbol.dispose](): void {
    this.screen.write(this.#goBack());
    this.#drawn = -Infinity;
  }

  #goBack(): string {
    return this.#drawn === -Infinity ? "" : UP + ERASE;
  }
}

/** Opens a bar on standard error; `undefined` if that is not a terminal that can draw it. */
export function openProgress(label: string, total?: number): ProgressBar | undefined {
  if (!hasControlSequences(Deno.stderr)) return undefined;
  const utf8 = new TextEncoder();
  return new ProgressBar(label, total, {
    write: (text) => void Deno.stderr.writeSync(utf8.encode(text)),
    columns: terminalColumns,
    style: styleFor(Deno.stderr),
  });
}

function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}
