/**
 * Snapshots that exist during a command: those in which `image exec` runs a program, those that
 * `image export` reads, and layers that are being unpacked.
 *
 * The command holds a lock named by the snapshot's key, which it takes before it makes the
 * snapshot. If the lock is free, the command was killed. Then the snapshot is removed when the
 * images are opened the next time, unless a program that the command started still runs in it.
 *
 * @module
 */
import { codeOf, messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import type { RunState } from "../store/run_state.ts";

/** The purpose of a temporary snapshot: the beginning of its key. */
export type TemporaryUse = "image-export" | "image-run";

/** A key for a snapshot of this process, valid until it is disposed of. */
export interface TemporaryKey extends Disposable {
  readonly key: string;
}

const OWN = /^(image-(?:export|run)) ([0-9a-f-]{36})$/;

/** The beginning of the key of a layer that is being unpacked. Its lock is the lock of images. */
export const UNPACKED = "image-layer sha256:";

/** Makes a new key and takes its lock. */
export function temporaryKey(state: RunState, use: TemporaryUse): TemporaryKey {
  const id = crypto.randomUUID(), lock = state.lockLayer(`${use}-${id}`);
  return { key: `${use} ${id}`, [Symbol.dispose]: () => lock[Symbol.dispose]() };
}

/**
 * Removes the snapshots of killed commands. A failure is a warning.
 *
 * @param keys the keys of snapshots that begin with `image-`
 */
export function sweepTemporary(
  keys: readonly string[],
  snapshots: Snapshots,
  state: RunState,
  warn: Warn,
): void {
  for (const key of keys) {
    try {
      using lock = tryLockOf(key, state);
      if (lock !== undefined) removeAbandoned(key, snapshots);
    } catch (error) {
      warn(`${key}, which a killed command left, was not removed: ${messageOf(error)}`);
    }
  }
}

/** The lock of a key; `undefined` if the key is in use or is not temporary. */
function tryLockOf(key: string, state: RunState): Disposable | undefined {
  const [, use, id] = OWN.exec(key) ?? [];
  if (use !== undefined) return state.tryLockLayer(`${use}-${id}`);
  return key.startsWith(UNPACKED) ? state.tryLockNamed("images") : undefined;
}

function removeAbandoned(key: string, snapshots: Snapshots): void {
  try {
    if (snapshots.unmountAbandoned(key)) snapshots.remove(key);
  } catch (error) {
    // Its command removed it meanwhile, or a program still runs in it.
    if (!["not found", "in use"].includes(codeOf(error))) throw error;
  }
}
