/**
 * The output of a command: results on standard output, everything else on standard error.
 *
 * With `--json` a result is one JSON value, and an error is one object on one line,
 * `{"error": {"code", "message", "exit"}}`. Writes are synchronous and complete: when a command
 * ends, all its output is written.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { EAGAIN, EMFILE, EPIPE, SyscallError } from "../../ffi/errno.ts";
import { STDERR_FILENO, STDOUT_FILENO, tryWrite } from "../../ffi/files.ts";
import { formatColumns, type Rows } from "./columns.ts";
import { codeOf, messageOf, remedyOf, VeneerError } from "../base/errors.ts";
import { escapeControls } from "../base/printable.ts";
import type { Remedy } from "../base/remedy.ts";
import { sleep } from "../base/sleep.ts";
import { commandOn, inWords, type StoreFlags } from "./remedies.ts";
import { EXIT_STATUS } from "./exit_status.ts";
import { type Style, styleFor } from "./style.ts";
import { LOG_LEVELS, type LogLevel } from "./table.ts";

/** How much standard output is gathered before it is written, in UTF-16 units. */
const BUFFER = 32 * 1024;

/** The reader of standard output has gone; the program ends without a word. */
export class ReaderGone extends Error {}

/** The output of one command. */
/**
 * A value as JSON without any control character. JSON has escapes of its own for those below 32; DEL
 * and the C1 controls, which terminals obey too, it would leave.
 */
function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\x7f-\x9f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

export class Output {
  readonly style: Style = styleFor(Deno.stdout);
  #pending = "";

  /** @param store the options in use, which hints repeat */
  constructor(
    readonly json: boolean,
    private readonly level: LogLevel,
    private readonly store: StoreFlags = {},
  ) {}

  /** A result: as JSON, or as lines of text, which are made only if they are wanted. */
  result(value: unknown, lines: () => Iterable<string>): void {
    if (this.json) this.line(jsonText(value));
    else for (const line of lines()) this.line(line);
  }

  /** A result: as JSON, or as a table, which is made only if it is wanted. */
  async resultTable(value: unknown, rows: () => Rows): Promise<void> {
    if (this.json) this.line(jsonText(value));
    else await this.table(rows());
  }

  /** A table, in columns as wide as their widest cell. */
  async table(rows: Rows): Promise<void> {
    for (const line of await formatColumns(rows)) this.line(line);
  }

  /** A table of many rows: on a terminal it is made to fit that, unless all of it is wanted. */
  async listTable(rows: Rows, isWhole: boolean): Promise<void> {
    if (isWhole || !Deno.stdout.isTerminal()) return await this.table(rows);
    const [{ cutLine, shortenIds }, { outputColumns }] = await Promise.all([
      import("./shorten.ts"),
      import("./wrap.ts"),
    ]);
    const columns = outputColumns();
    for (const line of await formatColumns(shortenIds(rows))) this.line(cutLine(line, columns));
  }

  /**
   * A list of results, which may be long: none of it is kept. As JSON an array, one element a line.
   */
  list<T>(items: Iterable<T>, toJson: (item: T) => unknown, toText: (item: T) => string): void {
    if (!this.json) {
      for (const item of items) this.line(toText(item));
      return;
    }
    let separator = "[";
    for (const item of items) {
      this.text(`${separator}\n${jsonText(toJson(item))}`);
      separator = ",";
    }
    this.line(separator === "[" ? "[]" : "\n]");
  }

  /** One line of a result. */
  line(text: string): void {
    this.text(`${text}\n`);
  }

  /** A part of a result that ends otherwise than in a line. */
  text(text: string): void {
    this.#pending += text;
    if (this.#pending.length > BUFFER) this.flush();
  }

  /** Writes out the buffered text. @throws {ReaderGone} */
  flush(): void {
    const text = this.#pending;
    this.#pending = "";
    if (text) write(STDOUT_FILENO, text);
  }

  /** An error: one line, or one JSON object. Returns the exit status it stands for. */
  error(error: unknown): number {
    const code = codeOf(error);
    const exit = EXIT_STATUS[code];
    const message = escapeControls(this.#withRemedy(describe(error), remedyOf(error)));
    const stack = this.level === "debug" && error instanceof Error ? error.stack : undefined;
    if (this.json) this.#say(jsonText({ error: { code, message, exit, stack } }));
    else this.#say(`veneer: ${message}${stack === undefined ? "" : `\n${stack}`}`);
    return exit;
  }

  /** Something works less well than it could. */
  warn(message: string, remedy?: Remedy): void {
    this.#log("warn", "warning", this.#withRemedy(message, remedy));
  }

  /** A message about progress. */
  info(message: string): void {
    this.#log("info", "info", message);
  }

  /** A call that was made, for who looks for a fault. */
  debug(message: string): void {
    this.#log("debug", "debug", message);
  }

  /** A command on the store in use, in backquotes. */
  command(...words: string[]): string {
    return commandOn(this.store, words);
  }

  /** A message and the remedy behind it, in this program's commands. */
  #withRemedy(message: string, remedy: Remedy | undefined): string {
    if (remedy === undefined) return message;
    return `${message}; ${inWords(remedy, this.store)}`;
  }

  #log(level: LogLevel, name: string, message: string): void {
    if (LOG_LEVELS.indexOf(this.level) < LOG_LEVELS.indexOf(level)) return;
    const text = escapeControls(message);
    this.#say(
      this.json ? jsonText({ [name]: { message: text } }) : `veneer: ${name}: ${text}`,
    );
  }

  /** Keeps the order of the two streams, for readers that merge them. */
  #say(line: string): void {
    this.flush();
    try {
      write(STDERR_FILENO, `${line}\n`);
    } catch {
      // No reader is left.
    }
  }
}

/** One line; an unforeseen error is marked as internal. */
function describe(error: unknown): string {
  const message = messageOf(error);
  if (error instanceof SyscallError && error.errno === EMFILE) {
    return `${message}; raise the limit (ulimit -n)`;
  }
  return isForeseen(error)
    ? message
    : `internal error: ${message}; --log-level debug shows where it arose`;
}

/**
 * Errors of our own finding, of system calls, and of the runtime's own calls, which carry a code.
 */
function isForeseen(error: unknown): boolean {
  return error instanceof VeneerError ||
    (error instanceof Error && "code" in error && typeof error.code === "string");
}

/** Writes all of a text, waiting if a program that shares the descriptor made it non-blocking. */
function write(fd: number, text: string): void {
  let rest = encode(text);
  while (rest.byteLength > 0) {
    const written = tryWrite(fd, rest);
    if (written >= 0) rest = rest.subarray(written);
    else if (written === -EAGAIN) sleep(1);
    else if (written === -EPIPE) throw new ReaderGone();
    else {throw new SyscallError(
        "write",
        -written,
        fd === STDOUT_FILENO ? "standard output" : undefined,
      );}
  }
}
