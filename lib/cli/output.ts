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
import { EAGAIN, EMFILE, EPERM, EPIPE, SyscallError } from "../../ffi/errno.ts";
import { STDERR_FILENO, STDOUT_FILENO, tryWrite } from "../../ffi/files.ts";
import { formatColumns, type Rows } from "./columns.ts";
import { lacksSysAdmin, PRIVILEGED } from "../base/capabilities.ts";
import { codeOf, messageOf, remedyOf, VeneerError } from "../base/errors.ts";
import { escapeControls } from "../base/printable.ts";
import type { Remedy } from "../base/remedy.ts";
import { sleep } from "../base/sleep.ts";
import { commandOn, inWords, type StoreFlags } from "./remedies.ts";
import { EXIT_STATUS } from "./exit_status.ts";
import { type Style, styleFor } from "./style.ts";
import { LOG_LEVELS, type LogLevel } from "./table.ts";

/** The size of the buffer of standard output, in UTF-16 units. */
const BUFFER = 32 * 1024;

/** The reader of standard output is gone; the program ends without a message. */
export class ReaderGone extends Error {}

/**
 * A value as JSON without any control character. `JSON.stringify` escapes those below 32, but not
 * DEL and the C1 controls, which terminals obey as well.
 */
function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\x7f-\x9f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The output of one command. */
export class Output {
  readonly style: Style = styleFor(Deno.stdout);
  #pending = "";

  /** @param store the options of the store in use, which hints repeat */
  constructor(
    readonly json: boolean,
    private readonly level: LogLevel,
    private readonly store: StoreFlags = {},
  ) {}

  /** Prints a result: as JSON, or as lines of text, which are only made if they are needed. */
  result(value: unknown, lines: () => Iterable<string>): void {
    if (this.json) this.line(jsonText(value));
    else for (const line of lines()) this.line(line);
  }

  /** Prints a result: as JSON, or as a table, which is only made if it is needed. */
  async resultTable(value: unknown, rows: () => Rows): Promise<void> {
    if (this.json) this.line(jsonText(value));
    else await this.table(rows());
  }

  /** Prints a table, with columns as wide as their widest cell. */
  async table(rows: Rows): Promise<void> {
    for (const line of await formatColumns(rows)) this.line(line);
  }

  /** Prints a table of many rows. On a terminal it is shortened to fit, unless `isWhole`. */
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
   * Prints a list of results, which may be long: it is not kept in memory. In JSON it is an array
   * with one element per line.
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

  /** Prints one line of a result. */
  line(text: string): void {
    this.text(`${text}\n`);
  }

  /** Prints a part of a result without a newline at its end. */
  text(text: string): void {
    this.#pending += text;
    if (this.#pending.length > BUFFER) this.flush();
  }

  /** Writes the buffered text. @throws {ReaderGone} */
  flush(): void {
    const text = this.#pending;
    this.#pending = "";
    if (text) write(STDOUT_FILENO, text);
  }

  /** Prints an error as one line or one JSON object; returns its exit status. */
  error(error: unknown): number {
    const code = codeOf(error);
    const exit = EXIT_STATUS[code];
    const message = escapeControls(this.#withRemedy(describe(error), remedyOf(error)));
    const stack = this.level === "debug" && error instanceof Error ? error.stack : undefined;
    if (this.json) this.#say(jsonText({ error: { code, message, exit, stack } }));
    else this.#say(`veneer: ${message}${stack === undefined ? "" : `\n${stack}`}`);
    return exit;
  }

  /** Prints a warning. */
  warn(message: string, remedy?: Remedy): void {
    this.#log("warn", "warning", this.#withRemedy(message, remedy));
  }

  /** Prints a message about progress. */
  info(message: string): void {
    this.#log("info", "info", message);
  }

  /** Prints a message for debugging. */
  debug(message: string): void {
    this.#log("debug", "debug", message);
  }

  /** Returns a command on the store in use, in backquotes. */
  command(...words: string[]): string {
    return commandOn(this.store, words);
  }

  /** A message followed by its remedy in this program's commands. */
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

  /**
   * Writes a line to standard error. Standard output is flushed first, to keep the order of the two
   * streams for readers that merge them.
   */
  #say(line: string): void {
    this.flush();
    try {
      write(STDERR_FILENO, `${line}\n`);
    } catch {
      // Nothing reads standard error any more.
    }
  }
}

/** The message of an error; an unexpected error is marked as internal. */
function describe(error: unknown): string {
  const message = messageOf(error);
  if (error instanceof SyscallError) {
    if (error.errno === EMFILE) return `${message}; raise the limit (ulimit -n)`;
    if (error.errno === EPERM && lacksSysAdmin()) {
      return `${message}; this process lacks CAP_SYS_ADMIN; ${PRIVILEGED}`;
    }
  }
  return isForeseen(error)
    ? message
    : `internal error: ${message}; --log-level debug shows where it arose`;
}

/**
 * Whether an error is expected: one of Veneer's own, of a system call, or of a call of the runtime,
 * which has a code.
 */
function isForeseen(error: unknown): boolean {
  return error instanceof VeneerError ||
    (error instanceof Error && "code" in error && typeof error.code === "string");
}

/**
 * Writes a text completely. It waits if a program that shares the descriptor made it non-blocking.
 */
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
