/**
 * One thread at a time in libdevmapper.
 *
 * The library's state is global, and its log function is a part of it. If two threads were in the
 * library, a message of the one's task would go to the other's callback. The runtime then lets the
 * first thread wait until the second returns to its event loop. If the second waits for a lock that
 * the first one holds, that is never.
 *
 * Workers share no memory that they were not given. But they share the C library, which has a lock
 * for each of its streams (`flockfile(3)`); one thread can take it several times. Nothing else uses
 * that of the standard input: the runtime reads from descriptors.
 *
 * @module
 */
import { streams } from "./libc.ts";

let input: Deno.PointerValue | undefined;

/** Runs `use` while no other thread of this process is in such a call. */
export function inTurn<T>(use: () => T): T {
  input ??= new Deno.UnsafePointerView(streams.stdin()!).getPointer();
  streams.flockfile()(input);
  try {
    return use();
  } finally {
    streams.funlockfile()(input);
  }
}
