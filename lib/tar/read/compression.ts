/**
 * How an input is compressed, by its first bytes.
 *
 * @module
 */
import { pread } from "../../../ffi/files.ts";
import { BLOCK, checksumAgrees } from "../header.ts";

/** The compressions that are decompressed on the way. */
export type Compression = "gzip" | "zstd";

/**
 * The first bytes of formats: RFC 1952, RFC 8878, and of two that are recognised only to be
 * refused.
 */
const MAGICS: readonly [magic: readonly number[], name: Compression | "xz" | "bzip2"][] = [
  [[0x1f, 0x8b, 0x08], "gzip"],
  [[0x28, 0xb5, 0x2f, 0xfd], "zstd"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], "xz"],
  [[0x42, 0x5a, 0x68], "bzip2"],
];

/** The compression of an input; `undefined` for a plain tar or an unknown one. */
export function compressionOf(head: Uint8Array): Compression | "xz" | "bzip2" | undefined {
  // A tar may begin with a file whose name looks like one of these.
  if (head.length >= BLOCK && checksumAgrees(head, 0)) return undefined;
  if (isSkippableFrame(head)) return "zstd";
  return MAGICS.find(([magic]) => magic.every((byte, i) => head[i] === byte))?.[1];
}

/** Whether an open file is compressed, in any way that is known. Its position stays. */
export function isCompressed(fd: number): boolean {
  const head = new Uint8Array(BLOCK);
  const length = pread(fd, head, head.length, 0n);
  return compressionOf(head.subarray(0, length)) !== undefined;
}

/** A frame of zstd that a decompressor skips: magic 0x184D2A50 to 0x184D2A5F, little-endian. */
function isSkippableFrame(head: Uint8Array): boolean {
  return (head[0] & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18;
}
