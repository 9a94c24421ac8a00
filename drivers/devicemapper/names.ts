/**
 * The names of devices, and the ids that a layer of this driver cannot have.
 *
 * All names of a store begin with `docker-<major>:<minor>-<inode>` of its home, as Docker's do, so
 * that several stores share one machine. A layer's device is `<prefix>-<id>`, the base device
 * `<prefix>-base`, the pool `<prefix>-pool`.
 *
 * @module
 */
import { DM_NAME_LEN } from "../../ffi/devmapper.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";

/** The base device's hash, which corresponds to a layer's id. */
export const BASE = "";

/**
 * The suffix of the record of a device that is to be deleted, whatever its content: see
 * `DeviceSet.reset`.
 */
export const DISCARDED_SUFFIX = ".veneer-old";

/**
 * Files of the metadata directory that do not belong to a device, and names that no layer can have.
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
    // Short for any id, and no id begins like that; under the lock only one is active at a time.
    return `${this.prefix}-${hash.endsWith(DISCARDED_SUFFIX) ? ".old" : hash}`;
  }

  /** Whether a device is of this store; the pool is, too. */
  isOwn(name: string): boolean {
    return name.startsWith(`${this.prefix}-`);
  }

  /**
   * @throws {VeneerError} `invalid argument` for an id that the layout has another use for or no
   * room
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

/** Whether a file of the metadata directory is the record of a layer's device. */
export function isRecordName(name: string): boolean {
  return !name.startsWith(".") && !RESERVED.includes(name) &&
    !RESERVED_SUFFIXES.some((suffix) => name.endsWith(suffix));
}
