/**
 * Ensures that data written to a layer is stored in the pool.
 *
 * A thin device may promise more space than the pool has. If space is missing, the write call still
 * succeeds; the failure comes later, when the kernel writes its caches back, and is reported only
 * to callers that sync.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import { isKernelAtLeast } from "../../lib/base/kernel.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { writeOut } from "./write_out.ts";
import type { Pool, PoolStatus } from "./pool.ts";

/** The time for which the kernel queues writes to a full pool, in seconds; 0 if it is unlimited. */
const NO_SPACE_TIMEOUT = "/sys/module/dm_thin_pool/parameters/no_space_timeout";
/** The default of that parameter, in seconds: `no_space_timeout_secs` of the kernel's dm-thin.c. */
const DEFAULT_NO_SPACE_TIMEOUT = 60;
/** The time that the sync may take beyond that limit, in seconds. */
const GRACE = 30;

/**
 * Writes a layer's file system out and checks the pool.
 *
 * If the pool queues writes because its space is full, this warns, and waits as long as the kernel
 * does (60 seconds, or the module's `no_space_timeout`).
 *
 * @param directory the layer's root, opened before anything was written
 * @throws {VeneerError} `limit exceeded` if the pool has not stored all data: it is full, read-only
 * or needs repair
 */
export function ensureStored(
  id: string,
  directory: number,
  pool: Pool,
  warn: Warn,
): void {
  const limit = noSpaceTimeout();
  let waits = false;
  const glance = (elapsed: number) => {
    const isFull = pool.status().mode === "out_of_data_space";
    if (isFull && !waits) {
      waits = true;
      warn(
        `pool ${pool.name} is out of data space: waiting up to ${limit} s for room for layer ${id}`,
      );
    }
    if (isFull && elapsed > (limit + GRACE) * 1000) throw notStored(id, pool, "out of data space");
  };
  try {
    writeOut(directory, isKernelAtLeast(5, 8), glance);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw notStored(id, pool, wrongWith(pool.status()) ?? messageOf(error));
  }
  const wrong = wrongWith(pool.status());
  if (wrong !== undefined) throw notStored(id, pool, wrong);
}

/** The reason why a pool may not have stored all data. */
function wrongWith({ mode, needsCheck }: PoolStatus): string | undefined {
  if (mode === "out_of_data_space") return "out of data space";
  if (needsCheck) return "in need of thin_check";
  return mode === "ro" ? "read-only" : undefined;
}

function notStored(id: string, pool: Pool, why: string): VeneerError {
  return new VeneerError(
    "limit exceeded",
    `layer ${id} is not stored: pool ${pool.name} is ${why}; remove layers or give it more space`,
  );
}

/** The time for which the kernel queues writes, in seconds; Infinity if it is unlimited. */
function noSpaceTimeout(): number {
  const text = readSystemFile(NO_SPACE_TIMEOUT);
  const seconds = text === undefined ? DEFAULT_NO_SPACE_TIMEOUT : Number(text);
  return seconds === 0 ? Infinity : seconds;
}
