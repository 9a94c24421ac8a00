/**
 * A set of directory entries, each given by its directory's inode number and its name: 8 bytes an
 * entry, up to 16 with the room for hashing, so that a layer of a million files costs 16 MB.
 *
 * Only 64 bits of hash are kept. Two of a million entries share theirs with a chance of 1 in 40
 * million.
 *
 * @module
 */

const SMALLEST = 1 << 10;

/** A set that only grows. */
export class EntrySet {
  /** Pairs of 32-bit halves; both 0 is a free place. */
  #places = new Uint32Array(2 * SMALLEST);
  #mask = SMALLEST - 1;
  #size = 0;

  /** Adds the entry of a NUL-terminated name. */
  add(directory: bigint, name: Uint8Array): void {
    if (2 * this.#size > this.#mask) this.#grow();
    hash(directory, name);
    if (this.#place(halves[0], halves[1])) this.#size++;
  }

  has(directory: bigint, name: Uint8Array): boolean {
    hash(directory, name);
    const at = this.#find(halves[0], halves[1]);
    return this.#places[at] !== 0 || this.#places[at + 1] !== 0;
  }

  #find(low: number, high: number): number {
    const places = this.#places;
    for (let i = low & this.#mask;; i = (i + 1) & this.#mask) {
      const at = 2 * i;
      const isFree = places[at] === 0 && places[at + 1] === 0;
      if (isFree || places[at] === low && places[at + 1] === high) return at;
    }
  }

  #place(low: number, high: number): boolean {
    const at = this.#find(low, high);
    if (this.#places[at] !== 0 || this.#places[at + 1] !== 0) return false;
    this.#places[at] = low;
    this.#places[at + 1] = high;
    return true;
  }

  #grow(): void {
    const old = this.#places;
    this.#places = new Uint32Array(2 * old.length);
    this.#mask = 2 * this.#mask + 1;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at] !== 0 || old[at + 1] !== 0) this.#place(old[at], old[at + 1]);
    }
  }
}

const halves = new Uint32Array(2);
const inode = new BigUint64Array(1);
const inodeWords = new Uint32Array(inode.buffer);

/**
 * Hashes an entry into `halves`: two multiplicative hashes of the bytes with different constants,
 * mixed. The inode number is mixed first: neighbours differ in one bit, which a byte of a name
 * would undo.
 */
export function hash(directory: bigint, name: Uint8Array): Uint32Array {
  inode[0] = directory;
  const seed = mix(inodeWords[0] ^ mix(inodeWords[1] ^ 0x9e3779b9));
  let low = seed ^ 0x811c9dc5, high = mix(seed ^ 0x85ebca6b);
  for (let i = 0; name[i] !== 0; i++) {
    low = Math.imul(low ^ name[i], 0x01000193);
    high = Math.imul(high + name[i], 0x85ebca6b) ^ (high >>> 15);
  }
  halves[0] = mix(low);
  halves[1] = mix(high) | 1;
  return halves;
}

function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}
