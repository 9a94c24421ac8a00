/**
 * The memory that the two threads of an apply share: a ring of jobs, the worker's answers, and room
 * for an error and for warnings.
 *
 * Counts only grow; a job's place is its count modulo {@linkcode RING}. The main thread alone
 * writes jobs, and reuses a place only when it has collected the answer in it.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { type ErrorCode, VeneerError } from "../../base/errors.ts";
import type { Remedy } from "../../base/remedy.ts";
import { SharedText } from "../../base/shared_text.ts";
import { Control, CONTROL_BYTES } from "../../base/worker_control.ts";

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
export class JobMemory {
  readonly control: Control;
  /** The offset of a job's entry in the tar. */
  readonly offsets: Float64Array<SharedArrayBuffer>;
  /** The directory it goes to. */
  readonly directories: Int32Array<SharedArrayBuffer>;
  /** Whether that hands something down (see `Directory.inherits`). */
  readonly inherits: Uint8Array<SharedArrayBuffer>;
  /** 0, or the negated error number with which the file could not be made. */
  readonly answers: Int32Array<SharedArrayBuffer>;
  readonly #error: SharedText;
  readonly #warnings: SharedText;

  constructor(
    readonly buffer = new SharedArrayBuffer(8 * RING + CONTROL_BYTES + 9 * RING + 2 * TEXT),
  ) {
    let at = 0;
    this.offsets = new Float64Array(buffer, at, RING);
    at += 8 * RING;
    this.control = new Control(buffer, at);
    at += CONTROL_BYTES;
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
    if (record === undefined) return new Error("a worker failed without an error");
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
