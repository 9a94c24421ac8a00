/**
 * An image that was found and is to be read.
 *
 * @module
 */
import type { ImageConfig } from "./config.ts";
import { badImage } from "./json.ts";
import { formatPlatform, type Platform } from "./platform.ts";
import type { ImageFile, ImageSource } from "./source.ts";

/** A layer of an image that is to be read. */
export interface FoundLayer {
  /** As messages name it. */
  readonly what: string;
  /** The digest of its file as it lies there; `undefined` if none is told. */
  readonly digest: string | undefined;
  /** @throws {VeneerError} `invalid argument` if it is missing, or of another size than is told */
  open(): ImageFile;
}

/** An image that is to be read, with as many layers as its config tells of. */
export interface FoundImage {
  readonly config: ImageConfig;
  /** The manifest as it lies there, of an OCI layout. */
  readonly manifest: Uint8Array<ArrayBuffer> | undefined;
  /** Whole names. */
  readonly names: readonly string[];
  readonly layers: readonly FoundLayer[];
}

/** Which images are wanted. */
export interface Wanted {
  readonly platform: Platform;
  /** Those of every platform. */
  readonly all: boolean;
}

/** The error of a source without an image for the wanted platform. */
export function nothingFor(
  source: ImageSource,
  wanted: Platform,
  others: readonly Platform[],
): Error {
  const found = [...new Set(others.map(formatPlatform))];
  return badImage(
    found.length === 0
      ? `${source.name} holds no image`
      : `${source.name} has no image for ${formatPlatform(wanted)}, only for ${found.join(", ")}`,
  );
}
