/**
 * Bytes in memory.
 *
 * @module
 */
import { memory } from "./libc.ts";
import { assertRange } from "./unwrap.ts";

/** Whether the first `count` bytes of both are the same (`memcmp(3)`). */
export function isSameMemory(
  a: Uint8Array<ArrayBuffer>,
  b: Uint8Array<ArrayBuffer>,
  count: number,
): boolean {
  assertRange(a, 0, count);
  assertRange(b, 0, count);
  return memory.memcmp()(a, b, count) === 0;
}
