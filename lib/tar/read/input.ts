/**
 * The input of a tar: a plain tar, or a gzip or zstd stream that is decompressed on the way.
 *
 * {@linkcode openTarInput} reads the first header, so that a caller can refuse other input before
 * it touches the layer. Empty input is not a tar: a writer that failed before its first byte leaves
 * just that, while the tar of an empty layer has its end-of-archive marker.
 *
 * @module
 */
import { openFileName } from "../../../ffi/open_files.ts";
import { VeneerError } from "../../base/errors.ts";
import { type Compression, compressionOf } from "./compression.ts";
import { type DecompressOptions, Decompressor } from "./decompress.ts";
import { BLOCK, checksumAgrees, isZeroBlock } from "../header.ts";
import { DescriptorWindow } from "./descriptor_window.ts";
import { RingWindow } from "./ring_window.ts";
import type { Window } from "./window.ts";

/** An opened tar. The descriptor it was opened on stays the caller's. */
export class TarInput implements Disposable {
  readonly window: Window;
  readonly compression: Compression | undefined;
  readonly #decompressor: Decompressor | undefined;

  constructor(window: Window, decompressor?: Decompressor) {
    this.window = window;
    this.compression = decompressor?.compression;
    this.#decompressor = decompressor;
  }

  /**
   * Starts to hash the plain tar.
   *
   * @returns a function that returns the digest, `sha256:…`, after the tar was applied, or
   * `undefined` if the tar was not read to its end
   */
  beginDigest(): () => string | undefined {
    const { createHash } = process.getBuiltinModule("node:crypto");
    const hash = createHash("sha256"), end = this.window.hashing((bytes) => hash.update(bytes));
    return () => end() ? `sha256:${hash.digest("hex")}` : undefined;
  }

  /** Ends the decompression, whether it is done or not. May be called twice. */
  close(): void {
    this.#decompressor?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The settings of {@linkcode openTarInput}. */
export interface TarInputOptions extends Partial<DecompressOptions> {
  /** See `TransferOptions`. */
  readonly onWaiting?: (bytes: number) => void;
}

/**
 * Opens a tar and checks its first header.
 *
 * @param fd any descriptor open for reading, which is read from its current position
 * @throws {VeneerError} `invalid argument` if it is not a tar, `not supported` for another
 * compression
 */
export function openTarInput(
  fd: number,
  { onWaiting, ...options }: TarInputOptions = {},
): TarInput {
  const window = DescriptorWindow.over(fd, onWaiting);
  window.fill(BLOCK);
  const compression = detect(fd, window.bytes.subarray(0, window.end));
  let input = new TarInput(window);
  if (compression !== undefined) {
    // A file is read again from its position, which the window has left alone.
    const head = window.file === undefined ? window.bytes.slice(0, window.end) : new Uint8Array();
    const decompressor = new Decompressor(compression, fd, head, options);
    const plain = new RingWindow(decompressor.ring, () => decompressor.check(), onWaiting);
    input = new TarInput(plain, decompressor);
  }
  try {
    checkFirstHeader(fd, input);
  } catch (error) {
    input.close();
    throw error;
  }
  return input;
}

function checkFirstHeader(fd: number, { window, compression }: TarInput): void {
  const isWhole = window.fill(BLOCK);
  if (isWhole) {
    const first = window.bytes.subarray(0, BLOCK);
    if (isZeroBlock(first, 0) || checksumAgrees(first, 0)) return;
  }
  const what = compression === undefined ? "the input" : `the ${compression} input's content`;
  const fault = window.end === 0
    ? "is empty: a tar without entries has its end-of-archive marker (1024 zero bytes); " +
      "check whether the program that writes it failed"
    : `is not a tar archive: ${
      isWhole ? "no valid header at byte 0" : `it has only ${window.end} bytes`
    }`;
  throw new VeneerError("invalid argument", `tar: ${nameBefore(fd)}${what} ${fault}`);
}

/** The name of the input's file, as the beginning of a message. */
function nameBefore(fd: number): string {
  const name = openFileName(fd);
  return name === undefined ? "" : `${name}: `;
}

function detect(fd: number, head: Uint8Array): Compression | undefined {
  const name = compressionOf(head);
  if (name === undefined || name === "gzip" || name === "zstd") return name;
  throw new VeneerError(
    "not supported",
    `tar: ${
      nameBefore(fd)
    }the input is compressed with ${name}; decompress it first (${name} -dc), or use gzip or zstd`,
  );
}
