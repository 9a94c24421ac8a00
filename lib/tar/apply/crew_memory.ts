/**
 * The memory that the two threads of an apply share: a ring of jobs, the worker's answers, and room for an
 * error and for warnings.
 *
 * Counts only grow; a job's place is its count modulo {@linkcode RING}. The main thread alone writes jobs, and
 * reuses a place only when it has collected the answer in it.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { type ErrorCode, VeneerError } from "../../base/errors.ts";
import type { Remedy } from "../../base/remedy.ts";
import { WORDS } from "../crew_control.ts";

/** Jobs in flight at most: about 20 ms of work. */
export const RING = 1024;

/** Room for an error as JSON, and as much for warnings, in bytes. */
const TEXT = 32 << 10;

/** An error without its class. */
interface ErrorRecord {
  readonly name: string;
  readonly message: string;
  /** Of a {@linkcode SyscallError}. */
  readonly syscall?: string;
  readonly errno?: number;
  readonly path?: string;
  /** Of a {@linkcode VeneerError}. */
  readonly code?: ErrorCode;
  readonly remedy?: Remedy;
}

/** Views of the shared memory. */
export class CrewMemory {
  readonly control: Int32Array<SharedArrayBuffer>;
  /** Where a job's entry starts in the tar. */
  readonly offsets: Float64Array<SharedArrayBuffer>;
  /** The directory it goes to. */
  readonly directories: Int32Array<SharedArrayBuffer>;
  /** Whether that hands something down (see `Directory.inherits`). */
  readonly inherits: Uint8Array<SharedArrayBuffer>;
  /** 0, or the negated error number with which the file could not be made. */
  readonly answers: Int32Array<SharedArrayBuffer>;
  readonly #error: SharedText;
  readonly #warnings: SharedText;

  constructor(readonly buffer = new SharedArrayBuffer(8 * RING + 4 * WORDS + 9 * RING + 2 * TEXT)) {
    let at = 0;
    this.offsets = new Float64Array(buffer, at, RING);
    at += 8 * RING;
    this.control = new Int32Array(buffer, at, WORDS);
    at += 4 * WORDS;
    this.directories = new Int32Array(buffer, at, RING);
    at += 4 * RING;
    this.answers = new Int32Array(buffer, at, RING);
    at += 4 * RING;
    this.inherits = new Uint8Array(buffer, at, RING);
    at += RING;
    this.#error = new SharedText(buffer, at, TEXT);
    this.#warnings = new SharedText(buffer, at + TEXT, TEXT);
  }

  /** Leaves an error for the other thread. */
  setError(error: unknown): void {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    const more = error instanceof SyscallError
      ? { syscall: error.syscall, errno: error.errno, path: error.path }
      : error instanceof VeneerError
      ? { code: error.code, remedy: error.remedy }
      : {};
    const path = "path" in more ? more.path?.slice(0, 4096) : undefined;
    this.#error.append({ name, message: message.slice(0, 4096), ...more, path });
  }

  /** The same error, of the same class. */
  takeError(): Error {
    const [record] = this.#error.take() as [ErrorRecord | undefined];
    if (record === undefined) return new Error("a worker failed and did not say why");
    if (record.name === "SyscallError") {
      return new SyscallError(record.syscall!, record.errno!, record.path);
    }
    if (record.name === "VeneerError") {
      const { code, message, remedy } = record;
      return new VeneerError(code!, message, { remedy });
    }
    return new Error(record.message);
  }

  addWarning(kind: string, message: string): void {
    this.#warnings.append([kind, message]);
  }

  takeWarnings(): readonly [kind: string, message: string][] {
    return this.#warnings.take() as [string, string][];
  }
}

/** JSON values one a line, in shared memory, behind their length; what does not fit is left out. */
class SharedText {
  readonly #length: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(buffer: SharedArrayBuffer, offset: number, size: number) {
    this.#length = new Int32Array(buffer, offset, 1);
    this.#bytes = new Uint8Array(buffer, offset + 4, size - 4);
  }

  append(value: unknown): void {
    const line = new TextEncoder().encode(JSON.stringify(value) + "\n");
    const length = Atomics.load(this.#length, 0);
    if (length + line.length > this.#bytes.length) return;
    this.#bytes.set(line, length);
    Atomics.store(this.#length, 0, length + line.length);
  }

  take(): unknown[] {
    const length = Atomics.exchange(this.#length, 0, 0);
    const text = new TextDecoder().decode(this.#bytes.slice(0, length));
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }
}
