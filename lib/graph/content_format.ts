/**
 * The record of the files that an apply made in a layer, `<home>/.veneer/content/<id>`.
 *
 * ```text
 * "VnrCont1"                                  the form is the last digit
 * D u16 path                                  the directory that the next names are in
 * F u16 mode u32 uid u32 gid f64 size f64 seconds u32 nanos u16 name    a file; d a directory, l a link,
 *                                             n another node, h a further name of a file
 * W                                           directories may have other attributes than their entries
 * K u16 name                                  a file of the layers below may have been copied to this name
 * A u8 kind                                   the kind of the hashes that follow, of `file_hash.ts`
 * H u16 name hash                             the hash of a file
 * I u16 text                                  the digest of the plain tar, `sha256:…`
 * E f64 length u32 sum                        the end: the tar's length, and the CRC-32 of all before
 * ```
 *
 * Numbers are little-endian, and texts have their length in bytes before them. The lines are in the
 * order of the tar, and later ones replace earlier ones. A record without its end, or with another
 * sum, is damaged or of an interrupted apply, and is ignored.
 *
 * @module
 */

/** The facts that an apply records of a layer's content. */
export type RecordKind = "none" | "sizes" | "hash";

/**
 * The facts that are recorded without an option. A file that a power cut emptied or shortened is
 * then found, also in a layer whose owner never thought of it; hashes would cost a second reading.
 */
export const DEFAULT_RECORD: RecordKind = "sizes";

/** How a record begins; the last byte is its form. */
export const MAGIC = "VnrCont1";

/** The lines, by their first byte. */
export const LINE = {
  directory: 0x44, // D
  file: 0x46, // F
  subdirectory: 0x64, // d
  link: 0x6c, // l
  node: 0x6e, // n
  hardLink: 0x68, // h
  hidden: 0x57, // W
  copied: 0x4b, // K
  hashes: 0x41, // A
  hash: 0x48, // H
  diffId: 0x49, // I
  end: 0x45, // E
} as const;

/** Bytes of an entry's line before its name's length. */
export const ENTRY_LENGTH = 1 + 2 + 4 + 4 + 8 + 8 + 4;

/** A mode that the record does not tell: an access list decided on it. */
export const NO_MODE = 0xffff;
