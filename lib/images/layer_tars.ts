/**
 * Makes the tars of layers again, byte for byte.
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
   * @returns its bytes, each piece in its own buffer; the iteration throws `corrupt store` with the
   * first file that has visibly changed since its import
   * @throws {VeneerError} `failed precondition` if its record is missing
   */
  open(diffId: string, chain: string, scope: DisposableStack): Iterable<Bytes>;

  /** Like {@linkcode open}, but compares each file; for stores whose `open` does not compare. */
  openChecked?(diffId: string, chain: string, scope: DisposableStack): Iterable<Bytes>;

  /**
   * Writes the present content of a layer as a new tar, if the original tar cannot be made again.
   */
  writeNew(chain: string, output: number, warn: Warn): void;
}

/** A layer of an image. */
export interface LayerName {
  readonly diffId: string;
  readonly chain: string;
}

/**
 * Makes a layer's tar again. Its bytes are verified when this returns.
 *
 * @throws {VeneerError} `corrupt store` with the first file of a layer that has changed since its
 * import
 */
export function passTar(
  tars: LayerTars,
  layer: LayerName,
  pass: (pieces: Generator<Bytes>) => void,
): void {
  const plain = newHash("sha256");
  try {
    using scope = new DisposableStack();
    pass(hashing(tars.open(layer.diffId, layer.chain, scope), plain));
    check(tars, layer, digestOf("sha256", plain));
  } catch (error) {
    throw ofLayer(layer, error);
  }
}

/** Like {@linkcode passTar}, but piece by piece. */
export function putTar(tars: LayerTars, layer: LayerName, put: (bytes: Bytes) => void): void {
  passTar(tars, layer, (pieces) => pieces.forEach((bytes) => put(bytes)));
}

function check(tars: LayerTars, { diffId, chain }: LayerName, found: string): void {
  if (found === diffId) return;
  using scope = new DisposableStack();
  for (const _ of tars.openChecked?.(diffId, chain, scope) ?? []);
  throw new VeneerError("corrupt store", `its tar has become ${found}`);
}

const ofLayer = ({ diffId }: LayerName, error: unknown) =>
  reworded(error, `layer ${diffId}: ${messageOf(error)}`);

/** Yields some pieces, and gives them to a hash. */
export function* hashing(
  pieces: Iterable<Bytes>,
  hash: { update(bytes: Bytes): unknown },
): Generator<Bytes> {
  for (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}
