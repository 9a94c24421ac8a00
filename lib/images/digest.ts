/**
 * Digests, `sha256:…` or `sha512:…`, and the chain ids made of them.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { badImage } from "./json.ts";

/** The algorithms of digests that are read. */
export type Algorithm = "sha256" | "sha512";

const DIGEST = /^(?:(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128}))$/;

/** A digest's parts. */
export interface Digest {
  readonly algorithm: Algorithm;
  readonly hex: string;
}

/**
 * Parses a digest.
 *
 * @param what its name in messages
 * @throws {VeneerError} `invalid argument`
 */
export function parseDigest(text: string, what: string): Digest {
  const match = DIGEST.exec(text);
  if (match === null) {
    throw badImage(`${what}: ${JSON.stringify(text.slice(0, 200))} is not a digest (sha256:…)`);
  }
  return { algorithm: (match[1] ?? match[3]) as Algorithm, hex: match[2] ?? match[4] };
}

/** Returns a new hash. */
export function newHash(algorithm: Algorithm): Hash {
  return createHash(algorithm);
}

/** The digest of the bytes that a hash was given. */
export function digestOf(algorithm: Algorithm, hash: Hash): string {
  return `${algorithm}:${hash.digest("hex")}`;
}

/** The digest of some bytes. */
export function digest(bytes: Uint8Array, algorithm: Algorithm = "sha256"): string {
  return digestOf(algorithm, newHash(algorithm).update(bytes));
}

/**
 * The chain ids of an image's layers, the lowest first. Each names a layer with all layers below
 * it: for the first layer its digest, then the digest of `<chain id below> <digest>` (image-spec,
 * config.md, "Layer ChainID").
 */
export function chainIds(diffIds: readonly string[]): string[] {
  const chains: string[] = [];
  for (const diffId of diffIds) {
    const below = chains.at(-1);
    chains.push(
      below === undefined ? diffId : digest(new TextEncoder().encode(`${below} ${diffId}`)),
    );
  }
  return chains;
}
