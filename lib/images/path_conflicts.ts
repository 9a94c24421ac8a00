/**
 * The files of a layer's tar whose content the layer does not keep, since a later entry of the same
 * tar took their place: as with `tar`, the last one counts.
 *
 * Paths are known by hashes. Two that are taken for one make the record of a tar larger, no more.
 *
 * @module
 */
import { SLASH } from "../../ffi/cstring.ts";
import type { LayerPath } from "../tar/read/layer_path.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const LOW = 0x811c9dc5, HIGH = 0x9747b28c;

/** The length of `.wh.` before a deleted entry's name, and of the name that hides a directory. */
const WHITEOUT = 4;
const OPAQUE = new TextEncoder().encode(".wh..wh..opq");

/** Paths below which content is to be kept apart from the layer. */
export class LostPaths {
  readonly #hashes = new Set<number>();

  get isEmpty(): boolean {
    return this.#hashes.size === 0;
  }

  /** A file or directory with all below it. */
  add(hash: number): void {
    this.#hashes.add(hash);
  }

  /** @param hashes of a path and of all that it is below */
  covers(hashes: readonly number[]): boolean {
    return !this.isEmpty && hashes.some((hash) => this.#hashes.has(hash));
  }
}

/** Takes the entries of one tar in their order. */
export class PathConflicts {
  readonly lost = new LostPaths();
  /** Files whose content the layer keeps, and the directories that they are in. */
  readonly #files = new Set<number>();
  readonly #directories = new Set<number>();
  readonly #links = new Set<number>();
  #parent = 0;

  /**
   * A file with content, which the layer keeps.
   *
   * @param hashes as {@linkcode hashesOf} returns them
   */
  addFile(hashes: readonly number[]): void {
    this.#files.add(hashes.at(-1)!);
    const parent = hashes.at(-2)!;
    if (parent === this.#parent) return;
    this.#parent = parent;
    for (const hash of hashes.slice(0, -1)) this.#directories.add(hash);
  }

  /** Any entry, before it counts as a file itself. */
  addEntry(hashes: readonly number[], isDirectory: boolean, isLink: boolean): void {
    const own = hashes.at(-1)!;
    this.#lose(own, !isDirectory);
    // Where a link leads, and so which files have two paths, is not known here.
    if (this.#links.size > 0 && hashes.slice(0, -1).some((hash) => this.#links.has(hash))) {
      this.lost.add(hashes[0]);
    }
    if (isLink) this.#links.add(own);
  }

  /** A deletion: of an entry, or of all that a directory had. */
  addWhiteout(path: LayerPath): void {
    const { path: bytes, pathLength: length, nameStart: start } = path;
    const isOpaque = length - start === OPAQUE.length &&
      OPAQUE.every((byte, i) => bytes[start + i] === byte);
    const end = Math.max(0, start - 1), hidden = new Uint8Array(length);
    hidden.set(bytes.subarray(0, start));
    hidden.set(bytes.subarray(start + WHITEOUT, length), start);
    const target = isOpaque ? hidden.subarray(0, end) : hidden.subarray(0, length - WHITEOUT);
    this.#lose(hashesOf(target, target.length).at(-1)!, true);
  }

  #lose(hash: number, isTreeLost: boolean): void {
    if (this.#files.has(hash) || isTreeLost && this.#directories.has(hash)) this.lost.add(hash);
  }
}

/**
 * Hashes of a path and of all directories that it is in, from the root on: 53 bits of each, by two
 * multiplications for each byte (FNV-1a with two primes).
 */
export function hashesOf(path: Bytes, length: number): number[] {
  const hashes = [joined(LOW, HIGH)];
  let low = LOW, high = HIGH;
  for (let i = 0; i < length; i++) {
    const byte = path[i];
    if (byte === SLASH) hashes.push(joined(low, high));
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ byte, 0x9e3779b1);
  }
  if (length > 0) hashes.push(joined(low, high));
  return hashes;
}

const joined = (low: number, high: number) =>
  ((high ^ high >>> 11) & 0x1fffff) * 2 ** 32 + (low >>> 0);
