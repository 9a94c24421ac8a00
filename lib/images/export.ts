/**
 * Packs an image: makes its layers' tars again, compresses them, and makes the documents that name
 * them.
 *
 * @module
 */
import { close, writeAll } from "../../ffi/files.ts";
import { codeOf, messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import { compressPieces } from "../tar/compress/pieces.ts";
import { type ImageConfig, parseConfig } from "./config.ts";
import { digestOf, newHash } from "./digest.ts";
import { parseJson } from "./json.ts";
import { hashing, type LayerTars, passTar } from "./layer_tars.ts";
import { IMAGE_NAME, REF_NAME } from "./layout.ts";
import { familiar } from "./reference.ts";
import { piecesOf, type Spool, type SpooledBlob } from "./spool.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The compression of layers. */
export type Packing = "gzip" | "zstd" | "none";

/** The forms of an image that are written. */
export type ImageFormat = "hybrid" | "oci-dir" | "docker";

/** The options of an export. */
export interface ExportOptions {
  readonly format: ImageFormat;
  readonly packing: Packing;
  /** A path: for `oci-dir` of a new directory, otherwise of a file; `-` for standard output. */
  readonly output: string;
  /** The time of all files, in seconds since 1970. */
  readonly time: number;
  /** Called before each layer with its number, from 1, and the number of layers. */
  readonly onLayer?: (number: number, count: number) => void;
  /**
   * If given, a layer that has changed since its import is written with its present content. Then
   * it has another digest, and the image another id. This gets a warning about it.
   */
  readonly onChanged?: Warn;
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
  /** It differs from the image's id if a layer has changed. */
  readonly id: string;
  /** The blobs below `blobs/sha256/`, each once. */
  readonly blobs: readonly SpooledBlob[];
  /** The manifest's digest. */
  readonly manifest: string;
  readonly index: Bytes;
  /** `manifest.json` of docker archives. */
  readonly dockerManifest: Bytes;
  /** `repositories` of docker archives. */
  readonly repositories: Bytes;
}

/** The parts that packing uses. */
export interface PackContext {
  readonly tars: LayerTars;
  readonly spool: Spool;
  /** Opens an empty file without a name; the caller closes it. */
  readonly openSpool: () => number;
}

/** A layer that is to be written. */
interface PackedLayer {
  readonly diffId: string;
  readonly blob: SpooledBlob;
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
  /** Complete names. */
  readonly names: readonly string[];
}

/** Packs an image into a spool. @throws as `Images.export` */
export function packImage(
  { id, config: bytes, names }: WrittenImage,
  context: PackContext,
  options: ExportOptions,
): PackedImage {
  const { spool } = context, { packing } = options, parsed = parseConfig(bytes, id);
  const packed = new Map<string, PackedLayer>(), found: PackedLayer[] = [];
  for (const [i, diffId] of parsed.diffIds.entries()) {
    options.onLayer?.(i + 1, parsed.diffIds.length);
    const layer = packed.get(diffId) ?? packLayer(parsed, i, context, options);
    if (layer.diffId === diffId) packed.set(diffId, layer);
    found.push(layer);
  }
  const layers = found.map(({ blob }) => blob);
  const config = spool.add(withDiffIds(bytes, id, found.map(({ diffId }) => diffId)));
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
    id: config.digest,
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

/** The tags and uppermost layers of repositories, for old readers. */
function repositoriesOf(names: readonly string[], layers: readonly SpooledBlob[]): Bytes {
  const top = layers.at(-1), repositories: Record<string, Record<string, string>> = {};
  for (const name of top === undefined ? [] : names.map(familiar)) {
    const colon = name.lastIndexOf(":");
    (repositories[name.slice(0, colon)] ??= {})[name.slice(colon + 1)] = hexOf(top!.digest);
  }
  return encode(repositories);
}

/** A config with other layers; the same bytes if the layers are the same. */
function withDiffIds(bytes: Bytes, id: string, diffIds: readonly string[]): Bytes {
  if (parseConfig(bytes, id).diffIds.every((diffId, i) => diffId === diffIds[i])) return bytes;
  const config = parseJson(bytes, id) as Record<string, unknown>;
  return encode({ ...config, rootfs: { type: "layers", diff_ids: diffIds } });
}

/** Makes a layer's tar again, verifies it, and compresses it into the spool. */
function packLayer(
  { diffIds, chains }: ImageConfig,
  i: number,
  context: PackContext,
  { packing, onChanged }: ExportOptions,
): PackedLayer {
  const { tars, spool } = context, diffId = diffIds[i], chain = chains[i];
  try {
    const blob = spool.write((fd) => {
      passTar(tars, { diffId, chain }, (pieces) => pack(pieces, packing, fd));
    });
    return { diffId, blob };
  } catch (error) {
    const isChanged = ["corrupt store", "failed precondition"].includes(codeOf(error));
    if (onChanged === undefined || !isChanged) throw error;
    onChanged(messageOf(error));
    return packNew(chain, context, packing, onChanged);
  }
}

/** Compresses a layer with its present content into the spool. */
function packNew(
  chain: string,
  { tars, spool, openSpool }: PackContext,
  packing: Packing,
  warn: Warn,
): PackedLayer {
  using scope = new DisposableStack();
  const fd = scope.adopt(openSpool(), close), plain = newHash("sha256");
  tars.writeNew(chain, fd, warn);
  const blob = spool.write((blob) => pack(hashing(piecesOf(fd), plain), packing, blob));
  return { diffId: digestOf("sha256", plain), blob };
}

function pack(pieces: Generator<Bytes>, packing: Packing, output: number): void {
  try {
    if (packing !== "none") compressPieces(packing, pieces, output);
    else for (const piece of pieces) writeAll(output, piece);
  } finally {
    pieces.return(undefined);
  }
}
