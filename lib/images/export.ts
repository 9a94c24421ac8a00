/**
 * Packing an image: its layers made again and compressed, and the documents that name them.
 *
 * @module
 */
import { createGzip, createZstdCompress } from "node:zlib";
import { pump } from "../tar/read/decompression.ts";
import { type ImageConfig, parseConfig } from "./config.ts";
import { type LayerTars, passTar } from "./layer_tars.ts";
import { IMAGE_NAME, REF_NAME } from "./layout.ts";
import { familiar } from "./reference.ts";
import type { Spool, SpooledBlob } from "./spool.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How layers are compressed. */
export type Packing = "gzip" | "zstd" | "none";

/** The forms of an image that are written. */
export type ImageFormat = "hybrid" | "oci-dir" | "docker";

/** How an image is written. */
export interface ExportOptions {
  readonly format: ImageFormat;
  readonly packing: Packing;
  /** A path: of a new directory for `oci-dir`, else of a file; `-` for standard output. */
  readonly output: string;
  /** The time of all files, in seconds since 1970. */
  readonly time: number;
  /** Called before each layer: its number from 1, and how many there are. */
  readonly onLayer?: (number: number, count: number) => void;
}

/** An image that was written. */
export interface Exported {
  readonly id: string;
  readonly names: readonly string[];
  /** The digest of its new manifest. */
  readonly manifest: string;
}

/** The files of an image that is to be written. */
export interface PackedImage {
  /** Of `blobs/sha256/`, each once. */
  readonly blobs: readonly SpooledBlob[];
  /** The manifest's digest. */
  readonly manifest: string;
  readonly index: Bytes;
  /** `manifest.json`, of docker archives. */
  readonly dockerManifest: Bytes;
  /** `repositories`, of docker archives. */
  readonly repositories: Bytes;
}

/** What packing works with. */
export interface PackContext {
  readonly tars: LayerTars;
  readonly spool: Spool;
}

const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";
const SUFFIXES: Readonly<Record<Packing, string>> = { gzip: "+gzip", zstd: "+zstd", none: "" };

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const hexOf = (digest: string) => digest.slice("sha256:".length);

/** An image that is to be written. */
export interface WrittenImage {
  readonly id: string;
  readonly config: Bytes;
  /** Whole names. */
  readonly names: readonly string[];
}

/** Packs an image into a spool. @throws as `Images.export` */
export async function packImage(
  { id, config: bytes, names }: WrittenImage,
  context: PackContext,
  { packing, onLayer }: ExportOptions,
): Promise<PackedImage> {
  const { spool } = context, parsed = parseConfig(bytes, id);
  const packed = new Map<string, SpooledBlob>(), layers: SpooledBlob[] = [];
  for (const [i, diffId] of parsed.diffIds.entries()) {
    onLayer?.(i + 1, parsed.diffIds.length);
    const layer = packed.get(diffId) ?? await packLayer(parsed, i, context, packing);
    packed.set(diffId, layer);
    layers.push(layer);
  }
  const config = spool.add(bytes);
  const manifest = spool.add(encode({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: config.digest,
      size: config.size,
    },
    layers: layers.map(({ digest, size }) => ({
      mediaType: LAYER_TYPE + SUFFIXES[packing],
      digest,
      size,
    })),
  }));
  const blobs = new Map([config, manifest, ...layers].map((blob) => [blob.digest, blob]));
  return {
    blobs: [...blobs.values()].sort((a, b) => a.digest < b.digest ? -1 : 1),
    manifest: manifest.digest,
    index: indexOf(manifest, parsed, names),
    dockerManifest: encode([{
      Config: `blobs/sha256/${hexOf(config.digest)}`,
      RepoTags: names.map(familiar),
      Layers: layers.map(({ digest }) => `blobs/sha256/${hexOf(digest)}`),
    }]),
    repositories: repositoriesOf(names, layers),
  };
}

function indexOf(
  { digest, size }: SpooledBlob,
  { platform }: ImageConfig,
  names: readonly string[],
): Bytes {
  const { os, architecture, variant } = platform;
  const descriptor = {
    mediaType: MANIFEST_TYPE,
    digest,
    size,
    platform: { architecture, os, ...variant && { variant } },
  };
  const manifests = names.map((name) => ({
    ...descriptor,
    annotations: { [IMAGE_NAME]: name, [REF_NAME]: name.slice(name.lastIndexOf(":") + 1) },
  }));
  return encode({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: manifests.length === 0 ? [descriptor] : manifests,
  });
}

/** Tags and uppermost layers by repositories, which only old readers want. */
function repositoriesOf(names: readonly string[], layers: readonly SpooledBlob[]): Bytes {
  const top = layers.at(-1), repositories: Record<string, Record<string, string>> = {};
  for (const name of top === undefined ? [] : names.map(familiar)) {
    const colon = name.lastIndexOf(":");
    (repositories[name.slice(0, colon)] ??= {})[name.slice(colon + 1)] = hexOf(top!.digest);
  }
  return encode(repositories);
}

/** Makes a layer's tar again, verifies it, and compresses it into the spool. */
async function packLayer(
  { diffIds, chains }: ImageConfig,
  i: number,
  { tars, spool }: PackContext,
  packing: Packing,
): Promise<SpooledBlob> {
  const blob = spool.begin();
  await passTar(
    tars,
    { diffId: diffIds[i], chain: chains[i] },
    (pieces) => pack(pieces, packing, (bytes) => blob.put(bytes)),
  );
  return blob.end();
}

async function pack(
  pieces: Generator<Bytes>,
  packing: Packing,
  put: (bytes: Bytes) => void,
): Promise<void> {
  try {
    if (packing === "none") { for (const piece of pieces) put(piece); }
    else await pump(packing === "gzip" ? createGzip() : createZstdCompress(), pieces, put);
  } finally {
    pieces.return(undefined);
  }
}
