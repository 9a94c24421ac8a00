/**
 * zstd streams by libzstd: decompression with one context for all frames of a stream and a bound on
 * its memory, and compression by several threads.
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

const PACKING = {
  // ZSTD_CCtx *ZSTD_createCCtx(void);
  ZSTD_createCCtx: { parameters: [], result: "pointer" },
  // size_t ZSTD_freeCCtx(ZSTD_CCtx *cctx);
  ZSTD_freeCCtx: { parameters: ["pointer"], result: "usize" },
  // size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *cctx, ZSTD_cParameter param, int value);
  ZSTD_CCtx_setParameter: { parameters: ["pointer", "i32", "i32"], result: "usize" },
  // size_t ZSTD_compressStream2(ZSTD_CCtx *cctx, ZSTD_outBuffer *output, ZSTD_inBuffer *input,
  //                             ZSTD_EndDirective endOp);
  ZSTD_compressStream2: { parameters: ["pointer", "buffer", "buffer", "i32"], result: "usize" },
  ZSTD_isError: SYMBOLS.ZSTD_isError,
  ZSTD_getErrorName: SYMBOLS.ZSTD_getErrorName,
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
type PackingLibrary = Deno.DynamicLibrary<typeof PACKING>["symbols"];

let opened: Library | undefined;
let openedToPack: PackingLibrary | undefined;

/** Throws the library's reason if a result is an error. */
function checked(
  library: Pick<Library, "ZSTD_isError" | "ZSTD_getErrorName">,
  result: bigint,
): bigint {
  if (library.ZSTD_isError(result) === 0) return result;
  const name = library.ZSTD_getErrorName(result);
  throw new Error(name === null ? `${result}` : Deno.UnsafePointerView.getCString(name));
}

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
    checked(
      this.#library,
      zstd.ZSTD_DCtx_setParameter(this.#context, WINDOW_LOG_MAX, LARGEST_WINDOW_LOG),
    );
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
      const result = checked(
        this.#library,
        this.#library.ZSTD_decompressStream(this.#context, this.#output.bytes, this.#input.bytes),
      );
      if (this.#input.position === used && this.#output.position === filled) break;
      this.#isInFrame = result !== 0n;
    }
    return this.#output.position;
  }

  [Symbol.dispose](): void {
    this.#library.ZSTD_freeDStream(this.#context);
  }
}

/** `ZSTD_c_windowLog`: how far back a frame refers, as a power of two. */
const WINDOW_LOG = 101;
/** `ZSTD_c_checksumFlag`: a frame ends with a checksum of its content. */
const CHECKSUM_FLAG = 201;
/** `ZSTD_c_nbWorkers`: threads of the library's own. */
const NB_WORKERS = 400;
/** `ZSTD_c_jobSize`: the plain bytes that each of them takes at a time. */
const JOB_SIZE = 401;
/**
 * 4 MiB, twice as far as by default; every reader takes 8. A layer's files are like others that are
 * further away: an image of 600 MB becomes 169 MB, not 173, in the same time.
 */
const WINDOW = 22;
/** As by default, and not four times the window: threads hold several of these. */
const JOB_BYTES = 8 << 20;
/** Of `ZSTD_EndDirective`. */
const END_CONTINUE = 0, END_END = 2;

/**
 * One frame being compressed at the default level. Its bytes depend on the content, and not on the
 * number of threads.
 */
export class ZstdPacker implements Disposable {
  readonly #library: PackingLibrary;
  readonly #context: Deno.PointerValue;
  readonly #input: StreamBuffer;
  readonly #output: StreamBuffer;
  #size = 0;
  #directive = END_CONTINUE;
  #isDone = false;

  /** Whether the library is installed. */
  static isAvailable(): boolean {
    try {
      openedToPack ??= Deno.dlopen(LIBRARY, PACKING).symbols;
      return true;
    } catch {
      return false;
    }
  }

  /**
   * @param input memory for the plain data; the caller fills it before each {@linkcode feed}
   * @param output memory for the compressed data
   * @param threads how many compress, at least 1; a library without threads has none
   * @throws {Error} if the library is not installed, or has no memory
   */
  constructor(input: Uint8Array<ArrayBuffer>, output: Uint8Array<ArrayBuffer>, threads: number) {
    if (!ZstdPacker.isAvailable()) throw new Error(`${LIBRARY} is missing`);
    const library = this.#library = openedToPack!;
    this.#input = new StreamBuffer(input);
    this.#output = new StreamBuffer(output);
    this.#context = library.ZSTD_createCCtx();
    if (this.#context === null) throw new Error("there is no memory for a compressor");
    library.ZSTD_CCtx_setParameter(this.#context, CHECKSUM_FLAG, 1);
    library.ZSTD_CCtx_setParameter(this.#context, WINDOW_LOG, WINDOW);
    library.ZSTD_CCtx_setParameter(this.#context, NB_WORKERS, threads);
    library.ZSTD_CCtx_setParameter(this.#context, JOB_SIZE, JOB_BYTES);
  }

  /** Makes the first `size` bytes of the input memory those to go on with. */
  feed(size: number, isLast: boolean): void {
    this.#size = size;
    this.#input.reset(size);
    this.#directive = isLast ? END_END : END_CONTINUE;
  }

  /**
   * Compresses until the input is used up, or the output memory is full.
   *
   * @returns how many bytes of the output memory are filled; 0 if more input is needed, or the
   * frame is at its end
   * @throws {Error} with the library's reason
   */
  next(): number {
    const { capacity } = this.#output, isLast = this.#directive === END_END;
    this.#output.reset(capacity);
    while (this.#output.position < capacity && !this.#isDone) {
      if (!isLast && this.#input.position === this.#size) break;
      const rest = checked(
        this.#library,
        this.#library.ZSTD_compressStream2(
          this.#context,
          this.#output.bytes,
          this.#input.bytes,
          this.#directive,
        ),
      );
      this.#isDone = isLast && rest === 0n;
    }
    return this.#output.position;
  }

  [Symbol.dispose](): void {
    this.#library.ZSTD_freeCCtx(this.#context);
  }
}
