/**
 * The description of an image, for people and programs.
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
  /** The disk space of its layer, in bytes. */
  readonly size: number;
}

/** The description of an image. */
export interface DescribedImage {
  readonly id: string;
  /** The names as people write them. */
  readonly names: readonly string[];
  readonly platform: string;
  /** The time in the config. */
  readonly created: string | null;
  /** The time of its import, RFC 3339. */
  readonly imported: string;
  /** The digest of the manifest that was imported with it. */
  readonly manifestDigest: string | null;
  /** The disk space of its layers, in bytes. */
  readonly size: number;
  /** The words of the command that it runs by default. */
  readonly command: readonly string[];
  /** The layers, the lowest first. */
  readonly layers: readonly DescribedLayer[];
  /** The steps that made it, the first one first. */
  readonly history: readonly HistoryStep[];
  readonly config: unknown;
  readonly manifest: unknown;
}

/** Describes an image. */
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

/** The steps of a config's history, with the sizes of their layers as far as the numbers agree. */
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
