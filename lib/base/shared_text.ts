/**
 * Texts that one thread leaves for another in shared memory.
 *
 * @module
 */

/** JSON values, one a line, behind their length in bytes; values that do not fit are left out. */
export class SharedText {
  readonly #length: Int32Array;
  readonly #bytes: Uint8Array;

  /** @param offset the start of its `size` bytes in the buffer: a multiple of 4 */
  constructor(buffer: SharedArrayBuffer, offset: number, size: number) {
    this.#length = new Int32Array(buffer, offset, 1);
    this.#bytes = new Uint8Array(buffer, offset + 4, size - 4);
  }

  /** Adds a value behind those that are there. */
  append(value: unknown): void {
    const line = new TextEncoder().encode(JSON.stringify(value) + "\n");
    const length = Atomics.load(this.#length, 0);
    if (length + line.length > this.#bytes.length) return;
    this.#bytes.set(line, length);
    Atomics.store(this.#length, 0, length + line.length);
  }

  /** Takes all values out. */
  take(): unknown[] {
    const length = Atomics.exchange(this.#length, 0, 0);
    const text = new TextDecoder().decode(this.#bytes.slice(0, length));
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }
}
