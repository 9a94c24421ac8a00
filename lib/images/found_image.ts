/**
 * An image that was found in a source and is to be read.
 *
 * @module
 */
import type { ImageConfig } from "./config.ts";
import { badImage } from "./json.ts";
import { formatPlatform, type Platform } from "./platform.ts";
import type { ImageFile, ImageSource } from "./source.ts";

/** A layer of an image that is to be read. */
export interface FoundLayer {
  /** Its name in messages. */
  readonly what: string;
  /** The digest of its file in the source; `undefined` if the source has none. */
  readonly digest: string | undefined;
  /**
   * @throws {VeneerError} `invalid argument` if it is missing, or has another size than recorded
   */
  open(): ImageFile;
}

/** An image that is to be read. The number of its layers agrees with its config. */
export interface FoundImage {
  readonly config: ImageConfig;
  /** The bytes of the manifest in an OCI layout. */
  readonly manifest: Uint8Array<ArrayBuffer> | undefined;
  /** Complete names. */
  readonly names: readonly string[];
  readonly layers: readonly FoundLayer[];
}

/** The choice of images. */
export interface Wanted {
  readonly platform: Platform;
  /** Whether the images of all platforms are wanted. */
  readonly all: boolean;
}

/** The error for a source without an image for the wanted platform. */
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
