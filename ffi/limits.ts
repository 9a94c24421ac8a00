/**
 * Limits of the process: `getrlimit(2)`, `setrlimit(2)`.
 *
 * @module
 */
import { E, limits } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

/** `asm-generic/resource.h`: one more than the highest number that a descriptor can get. */
export const RLIMIT_NOFILE = 7;

/** A limit: `soft` holds now, and the process may raise it to `hard`. */
export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

const words = new BigUint64Array(2);
const bytes = new Uint8Array(words.buffer);

/** A limit of this process, such as {@linkcode RLIMIT_NOFILE}. */
export function resourceLimit(resource: number): Limit {
  const result = limits.getrlimit64()(resource, bytes);
  unwrap(result < 0 ? -E[0] : result, "getrlimit");
  return { soft: words[0], hard: words[1] };
}

/** Sets a limit of this process. */
export function setResourceLimit(resource: number, { soft, hard }: Limit): void {
  words[0] = soft;
  words[1] = hard;
  const result = limits.setrlimit64()(resource, bytes);
  unwrap(result < 0 ? -E[0] : result, "setrlimit");
}
