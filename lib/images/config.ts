/**
 * An image's config: its platform, and the digests of its layers.
 *
 * @module
 */
import { chainIds, digest, parseDigest } from "./digest.ts";
import { badImage, JsonFields, parseJson } from "./json.ts";
import { type Platform, platformOf } from "./platform.ts";

/** The most layers of an image. */
export const MOST_LAYERS = 512;

/** The parts of a config that are used. */
export interface ImageConfig {
  /** Its digest, which is the image's id. */
  readonly id: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly platform: Platform;
  /** The digests of the uncompressed layers, the lowest first. */
  readonly diffIds: readonly string[];
  /** The names of the layers' snapshots, the lowest first. */
  readonly chains: readonly string[];
}

/**
 * Reads a config.
 *
 * @param what its name in messages
 * @throws {VeneerError} `invalid argument`
 */
export function parseConfig(bytes: Uint8Array<ArrayBuffer>, what: string): ImageConfig {
  const fields = new JsonFields(parseJson(bytes, what), what);
  const rootfs = fields.requireObject("rootfs");
  const type = rootfs.requireText("type");
  if (type !== "layers") {
    throw badImage(`${rootfs.what}: type is ${JSON.stringify(type.slice(0, 80))}, not "layers"`);
  }
  const diffIds = rootfs.texts("diff_ids");
  checkCount(diffIds.length, what);
  for (const diffId of diffIds) {
    const { algorithm } = parseDigest(diffId, rootfs.what);
    if (algorithm !== "sha256") throw badImage(`${rootfs.what}: ${diffId} is not of sha256`);
  }
  return {
    id: digest(bytes),
    bytes,
    platform: platformOf(fields),
    diffIds,
    chains: chainIds(diffIds),
  };
}

/**
 * @throws {VeneerError} `invalid argument` if there are more layers than {@linkcode MOST_LAYERS}
 */
export function checkCount(layers: number, what: string): void {
  if (layers <= MOST_LAYERS) return;
  throw badImage(`${what} has ${layers} layers: at most ${MOST_LAYERS} are read`);
}

/** @throws {VeneerError} `invalid argument` if the number of layers differs from the config's */
export function checkAgreement(layers: number, { diffIds }: ImageConfig, what: string): void {
  if (layers === diffIds.length) return;
  throw badImage(`${what} has ${layers} layers, its config has ${diffIds.length} diff ids`);
}
