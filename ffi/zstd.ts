/**
 * Decompression of zstd streams by libzstd: one context for all frames of a stream, and a bound on
 * its memory.
 *
 * The library keeps all its state; it is loaded at the first use. Source of prototypes and
 * constants: `zstd.h` 1.5.4, whose functions below have been stable since 1.4.0.
 *
 * @module
 */

const LIBRARY = "libzstd.so.1";

const SYMBOLS = {
  // ZSTD_DStream *ZSTD_createDStream(void);
  ZSTD_createDStream: { parameters: [], result: "pointer" },
  // size_t ZSTD_freeDStream(ZSTD_DStream *zds);
  ZSTD_freeDStream: { parameters: ["pointer"], result: "usize" },
  // size_t ZSTD_DCtx_setParameter(ZSTD_DCtx *dctx, ZSTD_dParameter param, int value);
  ZSTD_DCtx_setParameter: { parameters: ["pointer", "i32", "i32"], result: "usize" },
  // size_t ZSTD_decompressStream(ZSTD_DStream *zds, ZSTD_outBuffer *output, ZSTD_inBuffer *input);
  ZSTD_decompressStream: { parameters: ["pointer", "buffer", "buffer"], result: "usize" },
  // unsigned ZSTD_isError(size_t code);
  ZSTD_isError: { parameters: ["usize"], result: "u32" },
  // const char *ZSTD_getErrorName(size_t code);
  ZSTD_getErrorName: { parameters: ["usize"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Library | undefined;

/** The library, loaded at the first call; `undefined` if it is not installed. */
function library(): Library | undefined {
  try {
    return opened ??= Deno.dlopen(LIBRARY, SYMBOLS).symbols;
  } catch {
    return undefined;
  }
}

/** `ZSTD_d_windowLogMax`. */
const WINDOW_LOG_MAX = 100;
/** The largest window that is taken, as the `zstd` command has it: 128 MiB. */
const LARGEST_WINDOW_LOG = 27;

/** `ZSTD_inBuffer` and `ZSTD_outBuffer`: a pointer, a size and a position, of 8 bytes each. */
class StreamBuffer {
  readonly words = new BigUint64Array(3);
  readonly bytes = new Uint8Array(this.words.buffer);
  readonly #content: Uint8Array<ArrayBuffer>;

  constructor(content: Uint8Array<ArrayBuffer>) {
    // C keeps the address from call to call, so the memory must live as long as this does.
    this.#content = content;
    this.words[0] = Deno.UnsafePointer.value(Deno.UnsafePointer.of(content));
  }

  get capacity(): number {
    return this.#content.byteLength;
  }

  /** Makes the first `size` bytes those that C sees, none of them used yet. */
  reset(size: number): void {
    if (!(size >= 0 && size <= this.#content.byteLength)) throw new RangeError(`${size} bytes`);
    this.words[1] = BigInt(size);
    this.words[2] = 0n;
  }

  get position(): number {
    return Number(this.words[2]);
  }
}

/** One stream being decompressed: frames one after another, empty and skippable ones among them. */
export class ZstdStream implements Disposable {
  readonly #library: Library;
  readonly #context: Deno.PointerValue;
  readonly #input: StreamBuffer;
  readonly #output: StreamBuffer;
  #size = 0;
  #isInFrame = false;

  /**
   * A stream, if the library is installed.
   *
   * @param input memory for the compressed data; the caller fills it before each {@linkcode feed}
   * @param output memory for the decompressed data
   */
  static open(
    input: Uint8Array<ArrayBuffer>,
    output: Uint8Array<ArrayBuffer>,
  ): ZstdStream | undefined {
    const zstd = library();
    return zstd && new ZstdStream(zstd, input, output);
  }

  private constructor(
    zstd: Library,
    input: Uint8Array<ArrayBuffer>,
    output: Uint8Array<ArrayBuffer>,
  ) {
    this.#library = zstd;
    this.#input = new StreamBuffer(input);
    this.#output = new StreamBuffer(output);
    this.#context = zstd.ZSTD_createDStream();
    if (this.#context === null) throw new Error("there is no memory for a decompressor");
    this.#check(zstd.ZSTD_DCtx_setParameter(this.#context, WINDOW_LOG_MAX, LARGEST_WINDOW_LOG));
  }

  /** Whether the input so far ends inside a frame. */
  get isInFrame(): boolean {
    return this.#isInFrame;
  }

  /** Makes the first `size` bytes of the input memory those to go on with. */
  feed(size: number): void {
    this.#size = size;
    this.#input.reset(size);
  }

  /**
   * Decompresses until the input is used up or the output memory is full.
   *
   * @returns how many bytes of the output memory are filled; 0 if more input is needed
   * @throws {Error} with the library's reason if the input is damaged, or needs too much memory
   */
  next(): number {
    const { capacity } = this.#output;
    this.#output.reset(capacity);
    while (this.#output.position < capacity) {
      const used = this.#input.position, filled = this.#output.position;
      // A frame whose end was seen stays at its end: another call would begin a new one.
      if (used === this.#size && !this.#isInFrame) break;
      const result = this.#check(
        this.#library.ZSTD_decompressStream(this.#context, this.#output.bytes, this.#input.bytes),
      );
      if (this.#input.position === used && this.#output.position === filled) break;
      this.#isInFrame = result !== 0n;
    }
    return this.#output.position;
  }

  #check(result: bigint): bigint {
    if (this.#library.ZSTD_isError(result) === 0) return result;
    const name = this.#library.ZSTD_getErrorName(result);
    throw new Error(name === null ? `${result}` : Deno.UnsafePointerView.getCString(name));
  }

  [Symbol.dispose](): void {
    this.#library.ZSTD_freeDStream(this.#context);
  }
}
