/**
 * Refuses to make devices in a pool that is nearly full. A pool without space for data stops all
 * writers; a pool without space for metadata has to be repaired.
 *
 * @module
 */
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { formatSize } from "../../lib/base/sizes.ts";
import { METADATA_BLOCK_SIZE, type Pool, type PoolStatus } from "./pool.ts";

/**
 * @param share the share of data space and of metadata space that must be free, 0 to 0.99
 * @throws {VeneerError} `limit exceeded` with the kind of space and the remedy
 */
export function checkFreeSpace(pool: Pool, status: PoolStatus, share: number): void {
  checkWritable(pool, status);
  check("data", status.usedData, status.totalData, () => pool.table().blockSize * SECTOR_SIZE);
  check("metadata", status.usedMetadata, status.totalMetadata, () => METADATA_BLOCK_SIZE);

  function check(what: string, used: number, total: number, blockSize: () => number): void {
    const free = total - used;
    const least = Math.floor(total * share);
    if (free >= least && free > 0) return;
    const unit = blockSize();
    throw new VeneerError(
      "limit exceeded",
      `pool ${pool.name} has ${
        formatSize(free * unit)
      } of ${what} free, and dm.min_free_space requires ` +
        `${
          formatSize(least * unit)
        }; remove layers, make its ${what} larger, or lower dm.min_free_space`,
    );
  }
}

/**
 * The check for a change that frees more space than it takes. @throws {VeneerError} `failed
 * precondition`
 */
export function checkWritable(pool: Pool, { mode, needsCheck }: PoolStatus): void {
  if (mode !== "ro" && !needsCheck) return;
  throw new VeneerError(
    "failed precondition",
    `pool ${pool.name} is read-only and needs thin_check: its metadata was full or damaged`,
  );
}
