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

/** A step that made an image. */
export interface HistoryStep {
  readonly created: string | null;
  readonly createdBy: string;
  readonly comment: string;
  /** Whether it made no layer. */
  readonly isEmpty: boolean;
  /** Of its layer. */
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
  /** The steps that made it, the first one first. */
  readonly history: readonly HistoryStep[];
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
    history: historyOf(fields, layers),
    config: value,
    manifest: manifest === null ? null : parseJson(manifest, id),
  };
}

/** The steps that a config tells of, with the sizes of their layers as far as these agree. */
function historyOf(config: JsonFields, layers: readonly DescribedLayer[]): HistoryStep[] {
  let layer = 0;
  return config.objects("history").map((step) => {
    const isEmpty = step.flag("empty_layer");
    return {
      created: step.text("created") ?? null,
      createdBy: step.text("created_by") ?? "",
      comment: step.text("comment") ?? "",
      isEmpty,
      size: isEmpty ? 0 : layers[layer++]?.size ?? 0,
    };
  });
}
