/**
 * zstd streams by libzstd: decompression with one context for all frames of a stream and a bound on
 * its memory, and compression by several threads.
 *
 * The library keeps all its state; it is loaded at the first use. Source of prototypes and
 * constants: `zstd.h` 1.5.4, whose functions below have been stable since 1.4.0.
 *
 * @module
 */
import { assertRange } from "./unwrap.ts";

const LIBRARY = "libzstd.so.1";

/** What both directions use. */
const ERRORS = {
  // unsigned ZSTD_isError(size_t code);
  ZSTD_isError: { parameters: ["usize"], result: "u32" },
  // const char *ZSTD_getErrorName(size_t code);
  ZSTD_getErrorName: { parameters: ["usize"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const UNPACKING = {
  // ZSTD_DStream *ZSTD_createDStream(void);
  ZSTD_createDStream: { parameters: [], result: "pointer" },
  // size_t ZSTD_freeDStream(ZSTD_DStream *zds);
  ZSTD_freeDStream: { parameters: ["pointer"], result: "usize" },
  // size_t ZSTD_DCtx_setParameter(ZSTD_DCtx *dctx, ZSTD_dParameter param, int value);
  ZSTD_DCtx_setParameter: { parameters: ["pointer", "i32", "i32"], result: "usize" },
  // size_t ZSTD_decompressStream(ZSTD_DStream *zds, ZSTD_outBuffer *output, ZSTD_inBuffer *input);
  ZSTD_decompressStream: { parameters: ["pointer", "buffer", "buffer"], result: "usize" },
  ...ERRORS,
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
  ...ERRORS,
} as const satisfies Deno.ForeignLibraryInterface;

type Library<S extends Deno.ForeignLibraryInterface> = Deno.DynamicLibrary<S>["symbols"];

/**
 * A function that returns symbols of the library, loaded at its first call; `undefined` if the
 * library is not installed.
 */
function loading<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): () => Library<S> | undefined {
  let loaded: Library<S> | undefined;
  return () => {
    try {
      return loaded ??= Deno.dlopen(LIBRARY, symbols).symbols;
    } catch {
      return undefined;
    }
  };
}

const unpacking = loading(UNPACKING), packing = loading(PACKING);

/** Throws the library's reason if a result is an error. */
function checked(library: Library<typeof ERRORS>, result: bigint): bigint {
  if (library.ZSTD_isError(result) === 0) return result;
  const name = library.ZSTD_getErrorName(result);
  throw new Error(name === null ? `${result}` : Deno.UnsafePointerView.getCString(name));
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
  readonly #address: bigint;

  constructor(content: Uint8Array<ArrayBuffer>) {
    // C keeps the address from call to call, so the memory must live as long as this does.
    this.#content = content;
    this.#address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(content));
  }

  get capacity(): number {
    return this.#content.byteLength;
  }

  /** Makes the bytes up to `end` those that C sees, those from `start` on not used yet. */
  reset(end: number, start = 0): void {
    assertRange(this.#content, start, end - start);
    this.words[0] = this.#address;
    this.words[1] = BigInt(end);
    this.words[2] = BigInt(start);
  }

  get position(): number {
    return Number(this.words[2]);
  }
}

/** One stream being decompressed: frames one after another, empty and skippable ones among them. */
export class ZstdStream implements Disposable {
  readonly #library: Library<typeof UNPACKING>;
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
    const zstd = unpacking();
    return zstd && new ZstdStream(zstd, input, output);
  }

  private constructor(
    zstd: Library<typeof UNPACKING>,
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
   * Decompresses until the input is used up or the room for output is filled.
   *
   * @param start the start of the room in the output memory
   * @param limit its end
   * @returns the end of what is filled; `start` if more input is needed
   * @throws {Error} with the library's reason if the input is damaged, or needs too much memory
   */
  next(start: number, limit: number): number {
    this.#output.reset(limit, start);
    while (this.#output.position < limit) {
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
  readonly #library: Library<typeof PACKING>;
  readonly #context: Deno.PointerValue;
  readonly #input: StreamBuffer;
  readonly #output: StreamBuffer;
  #size = 0;
  #directive = END_CONTINUE;
  #isDone = false;

  /** Whether the library is installed. */
  static isAvailable(): boolean {
    return packing() !== undefined;
  }

  /**
   * A frame, if the library is installed.
   *
   * @param input memory for the plain data; the caller fills it before each {@linkcode feed}
   * @param output memory for the compressed data
   * @param threads how many compress, at least 1; a library without threads has none
   * @throws {Error} if there is no memory for it
   */
  static open(
    input: Uint8Array<ArrayBuffer>,
    output: Uint8Array<ArrayBuffer>,
    threads: number,
  ): ZstdPacker | undefined {
    const zstd = packing();
    return zstd && new ZstdPacker(zstd, input, output, threads);
  }

  private constructor(
    library: Library<typeof PACKING>,
    input: Uint8Array<ArrayBuffer>,
    output: Uint8Array<ArrayBuffer>,
    threads: number,
  ) {
    this.#library = library;
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
