/**
 * The tars of layers, made again byte for byte.
 *
 * @module
 */
import { messageOf, reworded, VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import { digestOf, newHash } from "./digest.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The tars of a store's layers. */
export interface LayerTars {
  /**
   * Opens a layer's tar; `scope` closes it.
   *
   * @returns its bytes, each piece its own, which throw `corrupt store` with the first file that is
   * seen not to be as it came
   * @throws {VeneerError} `failed precondition` if there is no record of it
   */
  open(diffId: string, chain: string, scope: DisposableStack): Iterable<Bytes>;

  /** The same with each file compared, for stores whose {@linkcode open} does not compare. */
  openChecked?(diffId: string, chain: string, scope: DisposableStack): Iterable<Bytes>;

  /** Writes a layer as it is now as a new tar, for one that cannot be made as it was. */
  writeNew(chain: string, output: number, warn: Warn): void;
}

/** A layer of an image. */
export interface LayerName {
  readonly diffId: string;
  readonly chain: string;
}

/**
 * Makes a layer's tar again; its bytes count once this returns.
 *
 * @throws {VeneerError} `corrupt store` with the first file of a layer that is not as it came
 */
export async function passTar(
  tars: LayerTars,
  layer: LayerName,
  pass: (pieces: Generator<Bytes>) => Promise<void>,
): Promise<void> {
  const plain = newHash("sha256");
  try {
    using scope = new DisposableStack();
    await pass(hashing(tars.open(layer.diffId, layer.chain, scope), plain));
    check(tars, layer, digestOf("sha256", plain));
  } catch (error) {
    throw ofLayer(layer, error);
  }
}

/** The same without waiting, piece by piece. */
export function putTar(tars: LayerTars, layer: LayerName, put: (bytes: Bytes) => void): void {
  const plain = newHash("sha256");
  try {
    using scope = new DisposableStack();
    for (const bytes of hashing(tars.open(layer.diffId, layer.chain, scope), plain)) put(bytes);
    check(tars, layer, digestOf("sha256", plain));
  } catch (error) {
    throw ofLayer(layer, error);
  }
}

function check(tars: LayerTars, { diffId, chain }: LayerName, found: string): void {
  if (found === diffId) return;
  using scope = new DisposableStack();
  for (const _ of tars.openChecked?.(diffId, chain, scope) ?? []);
  throw new VeneerError("corrupt store", `its tar has become ${found}`);
}

const ofLayer = ({ diffId }: LayerName, error: unknown) =>
  reworded(error, `layer ${diffId}: ${messageOf(error)}`);

/** Feeds a hash with pieces, and passes them on. */
export function* hashing(
  pieces: Iterable<Bytes>,
  hash: { update(bytes: Bytes): unknown },
): Generator<Bytes> {
  for (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}
