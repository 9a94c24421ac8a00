/**
 * What there is to tell of an image.
 *
 * @module
 */
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { parseConfig } from "./config.ts";
import { digest } from "./digest.ts";
import type { ImageInfo } from "./images.ts";
import { JsonFields, parseJson } from "./json.ts";
import { formatPlatform } from "./platform.ts";
import { familiar } from "./reference.ts";

/** A layer of an image. */
export interface DescribedLayer {
  /** The digest of its plain tar. */
  readonly diffId: string;
  /** The name of its snapshot. */
  readonly chain: string;
  /** The disk space that it adds, in bytes. */
  readonly size: number;
}

/** An image, for people and programs. */
export interface DescribedImage {
  readonly id: string;
  /** As people write them. */
  readonly names: readonly string[];
  readonly platform: string;
  /** As the config has it. */
  readonly created: string | null;
  /** The time of its import, RFC 3339. */
  readonly imported: string;
  /** Of the manifest that it came with. */
  readonly manifestDigest: string | null;
  /** The disk space of its layers, in bytes. */
  readonly size: number;
  /** The words that it runs by itself. */
  readonly command: readonly string[];
  /** The lowest first. */
  readonly layers: readonly DescribedLayer[];
  readonly config: unknown;
  readonly manifest: unknown;
}

/** Describes an image. The sizes of its layers are counted once. */
export function describeImage(image: ImageInfo, snapshotter: Snapshotter): DescribedImage {
  const { id, config: bytes, manifest, names, imported } = image;
  const config = parseConfig(bytes, id), value = parseJson(bytes, id);
  const fields = new JsonFields(value, id), run = fields.object("config");
  const layers = config.chains.map((chain, i) => ({
    diffId: config.diffIds[i],
    chain,
    size: snapshotter.usage(chain).bytes,
  }));
  return {
    id,
    names: names.map(familiar),
    platform: formatPlatform(config.platform),
    created: fields.text("created") ?? null,
    imported: new Date(Math.floor(imported / 1000)).toISOString(),
    manifestDigest: manifest === null ? null : digest(manifest),
    size: layers.reduce((sum, { size }) => sum + size, 0),
    command: [...run?.texts("Entrypoint") ?? [], ...run?.texts("Cmd") ?? []],
    layers,
    config: value,
    manifest: manifest === null ? null : parseJson(manifest, id),
  };
}
