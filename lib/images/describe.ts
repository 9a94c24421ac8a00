/**
 * The description of an image, for people and programs.
 *
 * @module
 */
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { attempt } from "../base/errors.ts";
import { type Warn, warningOf } from "../base/warn.ts";
import { type ImageConfig, parseConfig } from "./config.ts";
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

/** The description of an image by its config and the sizes of its layers. */
export interface DescribedConfig {
  readonly platform: string;
  /** The time in the config. */
  readonly created: string | null;
  /** The disk space of its layers, in bytes. */
  readonly size: number;
  /** The words of the command that it runs by default. */
  readonly command: readonly string[];
  /** The layers, the lowest first. */
  readonly layers: readonly DescribedLayer[];
  /** The steps that made it, the first one first. */
  readonly history: readonly HistoryStep[];
  readonly config: unknown;
}

/** The description of an image. */
export interface DescribedImage extends DescribedConfig {
  readonly id: string;
  /** The names as people write them. */
  readonly names: readonly string[];
  /** The time of its import, RFC 3339. */
  readonly imported: string;
  /** The digest of the manifest that was imported with it. */
  readonly manifestDigest: string | null;
  readonly manifest: unknown;
}

/**
 * Describes an image.
 *
 * @param warn gets a line about each part that cannot be read, and is left out
 */
export function describeImage(
  image: ImageInfo,
  snapshotter: Snapshotter,
  warn: Warn,
): DescribedImage {
  const { id, config: bytes, manifest, names, imported } = image;
  const { layers, history, config, ...described } = describeConfig(
    parseConfig(bytes, id),
    (chain) => snapshotter.usage(chain).bytes,
    warn,
  );
  return {
    id,
    names: names.map(familiar),
    ...described,
    imported: new Date(Math.floor(imported / 1000)).toISOString(),
    manifestDigest: manifest === null ? null : digest(manifest),
    layers,
    history,
    config,
    manifest: manifest === null
      ? null
      : attempt(warningOf(warn), `image ${id}`, () => parseJson(manifest, "its manifest")) ?? null,
  };
}

/**
 * Describes an image by its config. Nothing but what is needed of it was checked at its import: the
 * rest may have any form.
 *
 * @param sizeOf returns the size of a layer, in bytes
 * @param warn gets a line about each part that cannot be read, and is left out; a layer then has
 * the size 0
 */
export function describeConfig(
  { id, bytes, chains, diffIds, platform }: ImageConfig,
  sizeOf: (chain: string) => number,
  warn: Warn,
): DescribedConfig {
  const config = parseJson(bytes, id), fields = new JsonFields(config, "its config");
  const part = <T>(read: () => T): T | undefined => attempt(warningOf(warn), `image ${id}`, read);
  const words = (name: string) => part(() => fields.object("config")?.texts(name)) ?? [];
  const layers = chains.map((chain, i) => ({
    diffId: diffIds[i],
    chain,
    size: part(() => sizeOf(chain)) ?? 0,
  }));
  return {
    platform: formatPlatform(platform),
    created: part(() => fields.text("created")) ?? null,
    size: layers.reduce((sum, { size }) => sum + size, 0),
    command: [...words("Entrypoint"), ...words("Cmd")],
    layers,
    history: part(() => historyOf(fields, layers)) ?? [],
    config,
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
