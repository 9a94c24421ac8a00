/**
 * Hard links: which entry of a tar stands for the other names of its inode.
 *
 * @module
 */
import { decode, encode } from "../../../ffi/cstring.ts";
import type { Stat } from "../../../ffi/stat.ts";

/** The name an inode was first written under, and how many of its names have not come yet. */
interface Known {
  readonly path: string;
  missing: number;
}

/** Every inode with more names to come; forgotten at its last name. */
export class Links {
  /** By device (there is rarely more than one), then by inode. */
  readonly #devices = new Map<string, Map<bigint, Known>>();

  /** How many inodes have names to come. */
  get size(): number {
    let size = 0;
    for (const inodes of this.#devices.values()) size += inodes.size;
    return size;
  }

  /** Whether this inode was written before and has names to come. */
  has(stat: Stat): boolean {
    return this.#devices.get(device(stat))?.has(stat.inode) ?? false;
  }

  /** The path under which this inode was written before, if it was. */
  find(stat: Stat): Uint8Array<ArrayBuffer> | undefined {
    const inodes = this.#devices.get(device(stat));
    const known = inodes?.get(stat.inode);
    if (!inodes || !known) return undefined;
    if (--known.missing === 0) inodes.delete(stat.inode);
    return encode(known.path);
  }

  /** Remembers that an inode of several names was written under `path`. */
  add(stat: Stat, path: Uint8Array): void {
    let inodes = this.#devices.get(device(stat));
    if (!inodes) this.#devices.set(device(stat), inodes = new Map());
    inodes.set(stat.inode, { path: decode(path), missing: stat.links - 1 });
  }
}

const device = (stat: Stat) => `${stat.devMajor}:${stat.devMinor}`;
