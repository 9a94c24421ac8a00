/**
 * The names of devices, and the ids that layers of this driver cannot have.
 *
 * As with Docker, all names of a store begin with `docker-<major>:<minor>-<inode>` of its home, so
 * that one machine can have several stores. A layer's device is `<prefix>-<id>`, the base device
 * `<prefix>-base`, the pool `<prefix>-pool`.
 *
 * @module
 */
import { DM_NAME_LEN } from "../../ffi/devmapper.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";

/** The base device's hash. A layer's hash is its id. */
export const BASE = "";

/**
 * The suffix of a record whose device is to be deleted, even if the record does not say so: see
 * `DeviceSet.reset`.
 */
export const DISCARDED_SUFFIX = ".veneer-old";

/**
 * Names in the metadata directory that are not records of layers, so that no layer can have them.
 */
const RESERVED = ["base", "pool", "deviceset-metadata", "transaction-metadata"];
const RESERVED_SUFFIXES = [".migrated", ".veneer-new", DISCARDED_SUFFIX];

/** The names of one store's devices. */
export class DeviceNames {
  readonly prefix: string;

  constructor(home: Home) {
    this.prefix = `docker-${home.device}-${home.inode}`;
  }

  get pool(): string {
    return `${this.prefix}-pool`;
  }

  /**
   * @param hash a layer's id, {@linkcode BASE}, or a layer's id and {@linkcode DISCARDED_SUFFIX}
   */
  device(hash: string): string {
    if (hash === BASE) return `${this.prefix}-base`;
    // It is short enough for an id of any length, and no id begins with a dot. The lock allows only
    // one such device at a time.
    return `${this.prefix}-${hash.endsWith(DISCARDED_SUFFIX) ? ".old" : hash}`;
  }

  /** Whether a device, or the pool, belongs to this store. */
  isOwn(name: string): boolean {
    return name.startsWith(`${this.prefix}-`);
  }

  /**
   * @throws {VeneerError} `invalid argument` for an id that the layout uses otherwise, or that is
   * too long
   */
  checkId(id: string): void {
    if (RESERVED.includes(id) || RESERVED_SUFFIXES.some((suffix) => id.endsWith(suffix))) {
      throw new VeneerError(
        "invalid argument",
        `layer id ${id}: devicemapper has another use for that name; choose another id`,
      );
    }
    const length = this.device(id).length;
    if (length >= DM_NAME_LEN) {
      const most = DM_NAME_LEN - 1 - (length - id.length);
      throw new VeneerError(
        "invalid argument",
        `layer id ${id}: it has ${id.length} characters, and the name of its device has room for ${most}`,
      );
    }
  }
}

/** Whether a name in the metadata directory is that of the record of a layer's device. */
export function isRecordName(name: string): boolean {
  return !name.startsWith(".") && !RESERVED.includes(name) &&
    !RESERVED_SUFFIXES.some((suffix) => name.endsWith(suffix));
}
