/**
 * The log of a service: lines on standard error, each with an event and its properties.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { PIPE_BUF, STDERR_FILENO, tryWrite } from "../../ffi/files.ts";
import { isWritable } from "../../ffi/poll.ts";
import { escapeControls } from "../base/printable.ts";

/** `text`: `time=… level=info msg=…`, like containerd's own log; `json`: an object on each line. */
export type LogFormat = "text" | "json";

/** The levels of events with their ranks, the most important first. */
const RANK = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof RANK;

/** An event's properties, in the order in which they are shown. */
export type Properties = Readonly<Record<string, string | number>>;

/**
 * The longest line, in bytes. If a pipe can be written to, it takes this much in one piece without
 * blocking.
 */
const MAX_LINE = PIPE_BUF;

/** The longest text of a property, in UTF-16 units. */
const MAX_TEXT = 500;

/** The longest wait for a slow reader of the log, in milliseconds. */
const PATIENCE = 20;

/**
 * Writes events. If the reader is slow, lines are lost and their number is logged; the service
 * continues.
 */
export class ServiceLog {
  #lost = 0;

  /** @param level the least important level that is written */
  constructor(
    private readonly format: LogFormat,
    private readonly level: LogLevel,
  ) {}

  /** Whether events of a level are written. */
  writes(level: LogLevel): boolean {
    return RANK[level] <= RANK[this.level];
  }

  warn(message: string, properties: Properties = {}): void {
    this.#log("warn", message, properties);
  }

  info(message: string, properties: Properties = {}): void {
    this.#log("info", message, properties);
  }

  #log(level: LogLevel, msg: string, properties: Properties): void {
    if (!this.writes(level)) return;
    const lost: Properties = this.#lost > 0 ? { lost: this.#lost } : {};
    const time = new Date().toISOString();
    let line = this.#line({ time, level, msg: shortened(msg), ...properties, ...lost });
    if (line.length > MAX_LINE) line = this.#line({ time, level, msg: "a line was too long" });
    // A slow reader is waited for once. Until it has caught up, further lines are dropped at once.
    const isRead = isWritable(STDERR_FILENO, this.#lost > 0 ? 0 : PATIENCE);
    if (isRead && tryWrite(STDERR_FILENO, line) === line.length) this.#lost = 0;
    else this.#lost++;
  }

  #line(event: Properties): Uint8Array<ArrayBuffer> {
    const short = Object.entries(event).map(([key, value]) => [key, shortened(value)] as const);
    if (this.format === "json") return encode(`${toJson(Object.fromEntries(short))}\n`);
    const words = short.map(([key, value]) => `${key}=${quoted(value)}`);
    return encode(`${escapeControls(words.join(" "))}\n`);
  }
}

function shortened<T extends string | number>(value: T): T | string {
  const isLong = typeof value === "string" && value.length > MAX_TEXT;
  return isLong ? `${value.slice(0, MAX_TEXT)}…`.toWellFormed() : value;
}

/** A value in the form of logfmt: in quotes if it has spaces, quotes, `=` or backslashes. */
function quoted(value: string | number): string {
  const text = String(value);
  return /^[^\s"=\\]+$/.test(text) ? text : JSON.stringify(text);
}

/** JSON without control characters, including those that JSON allows. */
function toJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\x7f-\x9f]/g,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
