/**
 * Recognises archives of complete images. They are tars too, and applying one would silently fill a
 * layer with the files of the archive.
 *
 * @module
 */
import { pread } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import { openTarInput } from "../tar/read/input.ts";
import { BLOCK, checksumAgrees, NAME, number, padding, SIZE, textLength } from "../tar/header.ts";

/** The most entries that are read: an image has some hundreds at most. */
const MOST_ENTRIES = 1024;

/** The names of all entries of docker archives and OCI layouts. */
const OF_IMAGES =
  /^(?:\.?|blobs(?:\/.*)?|[0-9a-f]{64}(?:\.json|\.tar|\/.*)?|manifest\.json|repositories|oci-layout|index\.json)$/;

/**
 * Throws for the archive of an image: see {@linkcode imageArchiveKind}.
 *
 * @param file its name in messages
 * @throws {VeneerError} `invalid argument`
 */
export function refuseImageArchive(input: number, file: string): void {
  const kind = imageArchiveKind(input);
  if (kind === undefined) return;
  throw new VeneerError(
    "invalid argument",
    `${file} is ${kind}, a whole image: \`veneer image import\` takes it in`,
  );
}

/**
 * Words for the kind of an image's archive: a docker archive or the tar of an OCI layout;
 * `undefined` for other files. The search ends at the first entry that neither has, so for most tars
 * one header is read. Pipes and compressed files are not examined.
 *
 * @param input open for reading at its start; its position is not changed
 */
export function imageArchiveKind(input: number): string | undefined {
  const header = new Uint8Array(BLOCK);
  return kindOf((at) => pread(input, header, BLOCK, BigInt(at)) < BLOCK ? undefined : header);
}

/**
 * The same for a file that may be compressed with gzip or zstd. That of an image is decompressed to
 * its end, any other to its first entry.
 *
 * @param input open for reading at its start; its position changes
 * @throws {VeneerError} `invalid argument` if it is not a tar, `not supported` for another
 * compression
 */
export function inflatedArchiveKind(input: number): string | undefined {
  using tar = openTarInput(input, { isBounded: true });
  const { window } = tar;
  return kindOf((at) => {
    if (!window.skip(at - window.position) || !window.fill(BLOCK)) return undefined;
    return window.bytes.subarray(window.at, window.at + BLOCK);
  });
}

/** @param read returns the block at an offset of the plain tar, in bytes; each is behind the last */
function kindOf(read: (at: number) => Uint8Array | undefined): string | undefined {
  const seen = new Set<string>();
  let at = 0;
  for (let entries = 0; entries < MOST_ENTRIES; entries++) {
    const header = read(at);
    if (header === undefined || !checksumAgrees(header, 0)) break;
    const name = nameOf(header);
    if (!OF_IMAGES.test(name)) return undefined;
    seen.add(name.startsWith("blobs") ? "blobs" : /^[0-9a-f]{64}/.test(name) ? "layer" : name);
    const size = number(header, ...SIZE);
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    at += BLOCK + size + padding(size);
    if (!Number.isSafeInteger(at)) return undefined;
  }
  const isLayout = seen.has("oci-layout") && seen.has("index.json");
  const isDocker = seen.has("manifest.json") && (seen.has("layer") || seen.has("blobs"));
  if (!isLayout && !isDocker) return undefined;
  return isDocker ? "a docker archive" : "an OCI layout";
}

/** The name of an entry, without `./` before it and `/` after it. */
function nameOf(header: Uint8Array): string {
  const length = textLength(header, NAME, 0);
  const text = new TextDecoder().decode(header.subarray(NAME[0], NAME[0] + length));
  return text.replace(/^\.\//, "").replace(/\/$/, "");
}
