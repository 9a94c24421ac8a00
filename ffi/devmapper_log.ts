/**
 * The log messages of libdevmapper, as text.
 *
 * Its log function takes `printf` arguments. A callback has no `va_list`; but on x86_64 (System V)
 * and aarch64 (AAPCS64) the variable arguments of integer and pointer type lie just where further
 * fixed ones would, so the callback is declared with as many as any message of the library has, and
 * only those that the format uses are read. No message of the library prints a floating-point
 * number.
 *
 * @module
 */
import { library } from "./devmapper_library.ts";
import { inTurn } from "./devmapper_turn.ts";

// Levels of the library's messages: LVM2, libdm/misc/dm-logging.h and lib/log/log.h.
export const LOG_LEVEL_MASK = 0x07;
export const LOG_ERR = 3;

/** A message of the library: its level, 2 (fatal) to 7 (debug), and its text. */
export type LogSink = (level: number, text: string) => void;

const LOG_SIGNATURE = {
  // int level, const char *file, int line, int dm_errno_or_class, const char *f, ... (12 more)
  // deno-fmt-ignore
  parameters: [
    "i32", "pointer", "i32", "i32", "pointer",
    "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64",
  ],
  result: "void",
} as const;

let sink: LogSink = () => {};
let errors: string[] = [];
let callback: Deno.UnsafeCallback<typeof LOG_SIGNATURE> | undefined;

/** Sets the listener that this thread's log messages go to. Without one they are dropped. */
export function setLogSink(to: LogSink): void {
  sink = to;
}

/**
 * Runs `use` in this thread's turn ({@linkcode inTurn}) and collects the library's messages;
 * `errors` are the texts of those at the level of errors.
 */
export function withLog<T>(use: (errors: readonly string[]) => T): T {
  const listener = callback ??= new Deno.UnsafeCallback(LOG_SIGNATURE, receive);
  return inTurn(() => {
    errors = [];
    library().dm_log_with_errno_init(listener.pointer);
    try {
      return use(errors);
    } finally {
      library().dm_log_with_errno_init(null);
    }
  });
}

/** Runs `use` and drops the library's log messages. */
export function withoutSink<T>(use: () => T): T {
  const told = sink;
  sink = () => {};
  try {
    return use();
  } finally {
    sink = told;
  }
}

function receive(
  flags: number,
  _file: Deno.PointerValue,
  _line: number,
  _errno: number,
  format: Deno.PointerValue,
  ...values: bigint[]
): void {
  try {
    const level = flags & LOG_LEVEL_MASK;
    if (format === null) return;
    const text = formatMessage(Deno.UnsafePointerView.getCString(format), values, (address) => {
      const pointer = Deno.UnsafePointer.create(address);
      return pointer === null ? "(null)" : Deno.UnsafePointerView.getCString(pointer);
    });
    if (level <= LOG_ERR) errors.push(text);
    sink(level, text);
  } catch {
    // An exception must not pass through the library's frames; losing a message is better.
  }
}

const DIRECTIVE = /%([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+))?(hh|h|ll|l|j|z|t)?([diuxXocsp%])/g;

/**
 * `printf(3)` for the directives without floating point; `read` gives the C string at an address.
 */
export function formatMessage(
  format: string,
  values: readonly bigint[],
  read: (address: bigint) => string,
): string {
  let at = 0;
  const next = () => values[at++] ?? 0n;
  return format.replaceAll(
    DIRECTIVE,
    (_, flags: string, width?: string, precision?: string, size?: string, kind?: string) => {
      if (kind === "%") return "%";
      const least = width === "*" ? Number(BigInt.asIntN(32, next())) : Number(width ?? 0);
      const most = precision === "*" ? Number(BigInt.asIntN(32, next())) : precision;
      const bits = size === undefined ? 32 : size === "hh" ? 8 : size === "h" ? 16 : 64;
      const value = next();
      const unsigned = () => BigInt.asUintN(bits, value);
      const text = kind === "s"
        ? read(value).slice(0, most === undefined ? undefined : Number(most))
        : kind === "c"
        ? String.fromCharCode(Number(value & 0xffn))
        : kind === "p"
        ? `0x${value.toString(16)}`
        : kind === "d" || kind === "i"
        ? String(BigInt.asIntN(bits, value))
        : kind === "u"
        ? String(unsigned())
        : kind === "o"
        ? unsigned().toString(8)
        : (flags.includes("#") ? "0x" : "") + unsigned().toString(16);
      return flags.includes("-")
        ? text.padEnd(least)
        : text.padStart(least, flags.includes("0") && kind !== "s" ? "0" : " ");
    },
  );
}
