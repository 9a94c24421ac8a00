/**
 * XXH3, a fast hash with 64 bits, by libxxhash.
 *
 * The library is loaded at the first use. Source of prototypes: `xxhash.h` 0.8.1, whose functions
 * below are stable since 0.8.0.
 *
 * @module
 */

const LIBRARY = "libxxhash.so.0";

const SYMBOLS = {
  // XXH64_hash_t XXH3_64bits(const void *input, size_t length);
  XXH3_64bits: { parameters: ["buffer", "usize"], result: "u64" },
  // XXH3_state_t *XXH3_createState(void);
  XXH3_createState: { parameters: [], result: "pointer" },
  // XXH_errorcode XXH3_freeState(XXH3_state_t *statePtr);
  XXH3_freeState: { parameters: ["pointer"], result: "i32" },
  // XXH_errorcode XXH3_64bits_reset(XXH3_state_t *statePtr);
  XXH3_64bits_reset: { parameters: ["pointer"], result: "i32" },
  // XXH_errorcode XXH3_64bits_update(XXH3_state_t *statePtr, const void *input, size_t length);
  XXH3_64bits_update: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  // XXH64_hash_t XXH3_64bits_digest(const XXH3_state_t *statePtr);
  XXH3_64bits_digest: { parameters: ["pointer"], result: "u64" },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Library | undefined;

/** Computes one hash after another. The caller disposes of it. */
export class Xxh3 implements Disposable {
  readonly #library: Library;
  readonly #state: Deno.PointerValue;

  private constructor(library: Library) {
    this.#library = library;
    this.#state = library.XXH3_createState();
    if (this.#state === null) throw new Error("there is no memory for a hash");
    this.reset();
  }

  /** Loads the library; `undefined` if it is not installed or has no XXH3. */
  static open(): Xxh3 | undefined {
    try {
      opened ??= Deno.dlopen(LIBRARY, SYMBOLS).symbols;
    } catch {
      return undefined;
    }
    return new Xxh3(opened);
  }

  /** The hash of some bytes. A hash that was begun is not affected. */
  of(bytes: Uint8Array<ArrayBuffer>): bigint {
    return this.#library.XXH3_64bits(bytes, BigInt(bytes.length));
  }

  /** Begins another hash. */
  reset(): void {
    this.#library.XXH3_64bits_reset(this.#state);
  }

  update(bytes: Uint8Array<ArrayBuffer>): void {
    this.#library.XXH3_64bits_update(this.#state, bytes, BigInt(bytes.length));
  }

  /** The hash of the bytes since the last reset. */
  digest(): bigint {
    return this.#library.XXH3_64bits_digest(this.#state);
  }

  [Symbol.dispose](): void {
    this.#library.XXH3_freeState(this.#state);
  }
}
