/**
 * Packing an image: its layers made again and compressed, and the documents that name them.
 *
 * @module
 */
import { createGzip, createZstdCompress } from "node:zlib";
import { close, O_DIRECTORY, O_RDONLY } from "../../ffi/files.ts";
import { messageOf, reworded, VeneerError } from "../base/errors.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { pump } from "../tar/read/decompression.ts";
import { openWithoutLinks } from "../tree/confined.ts";
import { type ImageConfig, parseConfig } from "./config.ts";
import { digestOf, newHash } from "./digest.ts";
import { IMAGE_NAME, REF_NAME } from "./layout.ts";
import { rebuilt } from "./rebuild.ts";
import type { ImageRecord } from "./records.ts";
import { familiar } from "./reference.ts";
import type { Spool, SpooledBlob } from "./spool.ts";
import type { TarRecords } from "./tar_records.ts";

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
  readonly snapshots: Snapshotter;
  readonly records: TarRecords;
  readonly spool: Spool;
}

const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";
const SUFFIXES: Readonly<Record<Packing, string>> = { gzip: "+gzip", zstd: "+zstd", none: "" };

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const hexOf = (digest: string) => digest.slice("sha256:".length);

/** Packs an image into a spool. @throws as `Images.export` */
export async function packImage(
  { id, config: bytes, names }: ImageRecord & { readonly names: readonly string[] },
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
  { snapshots, records, spool }: PackContext,
  packing: Packing,
): Promise<SpooledBlob> {
  const diffId = diffIds[i], what = `layer ${diffId}`;
  const record = records.open(diffId);
  if (record === undefined) {
    throw new VeneerError(
      "failed precondition",
      `${what} cannot be written as it came: there is no record of its tar, or a path came twice in it`,
    );
  }
  try {
    return await withLayer(snapshots, chains[i], async (root) => {
      const plain = newHash("sha256"), blob = spool.begin();
      const pieces = hashing(rebuilt(record, root), plain);
      await pack(pieces, packing, (bytes) => blob.put(bytes));
      const found = digestOf("sha256", plain);
      if (found === diffId) return blob.end();
      throw new VeneerError("corrupt store", `its tar has become ${found}`);
    });
  } catch (error) {
    throw reworded(error, `${what}: ${messageOf(error)}`);
  } finally {
    close(record.fd);
  }
}

function* hashing(pieces: Iterable<Bytes>, hash: { update(bytes: Bytes): unknown }) {
  for (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
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

/** Runs `use` on the tree of a committed layer, mounted for that long. */
async function withLayer<T>(
  snapshots: Snapshotter,
  chain: string,
  use: (root: number) => Promise<T>,
): Promise<T> {
  const key = `image-export ${crypto.randomUUID()}`;
  snapshots.view(key, chain);
  try {
    const path = snapshots.mount(key);
    try {
      const root = openWithoutLinks(path, O_RDONLY | O_DIRECTORY);
      try {
        return await use(root);
      } finally {
        close(root);
      }
    } finally {
      snapshots.unmount(key);
    }
  } finally {
    snapshots.remove(key);
  }
}
