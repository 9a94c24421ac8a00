/**
 * Finds the files of a layer's tar whose content the layer does not keep, because a later entry of
 * the same tar replaces them: like with `tar`, the last entry counts.
 *
 * Paths are compared by hashes. A collision makes the record of a tar larger, and has no other
 * effect. Links of the layers below are unknown here. So the directories are also found that paths
 * lead through and that the tar does not make itself.
 *
 * @module
 */
import { decode, SLASH } from "../../ffi/cstring.ts";
import type { LayerPath } from "../tar/read/layer_path.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const LOW = 0x811c9dc5, HIGH = 0x9747b28c;

/** The length of `.wh.` before a deleted entry's name, and of the name that hides a directory. */
const WHITEOUT = 4;
const OPAQUE = new TextEncoder().encode(".wh..wh..opq");

/** The most directories of layers below that are noted. */
const MOST_OTHERS = 4096;

/** The hash of the root. */
const ROOT = hashesOf(new Uint8Array(), 0)[0];

/** Paths whose content, with that of all paths below, is to be kept in the record. */
export class LostPaths {
  readonly #hashes = new Set<number>();

  get isEmpty(): boolean {
    return this.#hashes.size === 0;
  }

  /** All paths. */
  static all(): LostPaths {
    const all = new LostPaths();
    all.add(ROOT);
    return all;
  }

  /** Adds a file, or a directory with all below it. */
  add(hash: number): void {
    this.#hashes.add(hash);
  }

  /** @param hashes the hashes of a path and of all directories above it */
  covers(hashes: readonly number[]): boolean {
    return !this.isEmpty && hashes.some((hash) => this.#hashes.has(hash));
  }
}

/** Gets the entries of one tar in their order. */
export class PathConflicts {
  readonly lost = new LostPaths();
  /** Files whose content the layer keeps, and the directories that they are in. */
  readonly #files = new Set<number>();
  readonly #directories = new Set<number>();
  readonly #links = new Set<number>();
  #parent = 0;
  readonly #made = new Set([ROOT]);
  readonly #others = new Map<number, string>();
  #lastParent = ROOT;
  #isUnsure = false;

  /**
   * The directories of layers below that paths lead through; `undefined` if there are too many, or
   * if the tar also replaces or deletes one.
   */
  get others(): readonly string[] | undefined {
    return this.#isUnsure ? undefined : [...this.#others.values()];
  }

  /**
   * Adds a file with content, which the layer keeps.
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

  /**
   * Adds an entry of any type. To be called before {@linkcode addFile}.
   *
   * @param path of which `hashes` are the hashes
   */
  addEntry(path: Bytes, hashes: readonly number[], isDirectory: boolean, isLink: boolean): void {
    const own = hashes.at(-1)!;
    this.#enter(path, hashes, hashes.length - 1);
    this.#lose(own, !isDirectory);
    if (isDirectory) this.#made.add(own);
    // The target of a link is not followed here, so any file may have a second path.
    if (this.#links.size > 0 && hashes.slice(0, -1).some((hash) => this.#links.has(hash))) {
      this.lost.add(hashes[0]);
    }
    if (isLink) this.#links.add(own);
  }

  /** Adds a deletion: of an entry, or of all entries of a directory. */
  addWhiteout(path: LayerPath): void {
    const { path: bytes, pathLength: length, nameStart: start } = path;
    const isOpaque = length - start === OPAQUE.length &&
      OPAQUE.every((byte, i) => bytes[start + i] === byte);
    const end = Math.max(0, start - 1), hidden = new Uint8Array(length);
    hidden.set(bytes.subarray(0, start));
    hidden.set(bytes.subarray(start + WHITEOUT, length), start);
    const target = isOpaque ? hidden.subarray(0, end) : hidden.subarray(0, length - WHITEOUT);
    const hashes = hashesOf(target, target.length);
    this.#enter(target, hashes, isOpaque ? hashes.length : hashes.length - 1);
    this.#lose(hashes.at(-1)!, true);
  }

  /**
   * Notes that a path leads through directories.
   *
   * @param count the number of the hashes that are those of the directories, from the root on
   */
  #enter(path: Bytes, hashes: readonly number[], count: number): void {
    const parent = hashes[count - 1] ?? ROOT;
    if (parent === this.#lastParent) return;
    this.#lastParent = parent;
    let last = count - 1;
    while (last > 0 && this.#made.has(hashes[last])) last--;
    if (last <= 0 || this.#others.has(hashes[last])) return;
    if (this.#others.size === MOST_OTHERS) this.#isUnsure = true;
    else this.#others.set(hashes[last], decode(path.subarray(0, lengthOf(path, last))));
  }

  #lose(hash: number, isTreeLost: boolean): void {
    this.#isUnsure ||= this.#others.has(hash);
    if (this.#files.has(hash) || isTreeLost && this.#directories.has(hash)) this.lost.add(hash);
  }
}

/** The length of the first `count` components of a path. */
function lengthOf(path: Bytes, count: number): number {
  let length = -1;
  for (let i = 0; i < count; i++) {
    length = path.indexOf(SLASH, length + 1);
    if (length < 0) return path.length;
  }
  return length;
}

/**
 * The hashes of a path and of all directories above it, from the root on. They have 53 bits, by two
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

function joined(low: number, high: number): number {
  return ((high ^ high >>> 11) & 0x1fffff) * 2 ** 32 + (low >>> 0);
}
