/**
 * The hold of a service on a store. A service holds it exclusively as long as it runs; each command
 * that changes the store excludes services meanwhile. Commands that only read take no hold.
 *
 * ```text
 * /run/veneer/<home>/service    locked exclusively by a service, shared by commands
 * ```
 *
 * This lock comes before all others.
 *
 * @module
 */
import { close, O_CREAT, O_RDWR } from "../../ffi/files.ts";
import { type LockMode, tryLock } from "../../ffi/flock.ts";
import { VeneerError } from "../base/errors.ts";
import { holdersOf } from "../base/processes.ts";
import { sleep } from "../base/sleep.ts";
import { open } from "../tree/confined.ts";
import type { RunState } from "./run_state.ts";

/**
 * How long a service waits for commands to end, in milliseconds; it does not for another service.
 */
const PATIENCE = 5000;

/** Between two tries, in milliseconds. */
const PAUSE = 20;

/**
 * Holds a store for a service, until disposed of.
 *
 * @param path of the store, for messages
 * @throws {VeneerError} `in use` with the process that has it, if that does not end soon
 */
export function holdForService(state: RunState, path: string): Disposable {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const { held, holders } = tryHold(state, "exclusive");
    if (held !== undefined) return held;
    using beside = tryHoldToChange(state);
    if (beside === undefined || performance.now() > deadline) {
      throw new VeneerError("in use", `the store at ${path} is in use${by(holders)}`, {
        remedy: { kind: "other name" },
      });
    }
    sleep(PAUSE);
  }
}

/**
 * Keeps services from holding a store, until disposed of: for a command that changes it.
 *
 * @throws {VeneerError} `in use` with the service that holds it
 */
export function holdToChange(state: RunState, path: string): Disposable {
  const { held, holders } = tryHold(state, "shared");
  if (held !== undefined) return held;
  throw new VeneerError("in use", `a service holds the store at ${path}${by(holders)}`, {
    remedy: { kind: "ask engine" },
  });
}

/** The same; `undefined` if a service holds it. */
export function tryHoldToChange(state: RunState): Disposable | undefined {
  return tryHold(state, "shared").held;
}

/** A hold, or the processes that have one. */
function tryHold(
  state: RunState,
  mode: LockMode,
): { held: Disposable | undefined; holders: readonly string[] } {
  const file = state.path("service");
  const fd = open(file, O_RDWR | O_CREAT, 0o600);
  let taken = false;
  try {
    taken = tryLock(fd, mode, file.text);
    if (taken) return { held: { [Symbol.dispose]: () => close(fd) }, holders: [] };
    return { held: undefined, holders: holdersOf(fd) };
  } finally {
    if (!taken) close(fd);
  }
}

const by = (holders: readonly string[]) => holders.length === 0 ? "" : ` (${holders.join(", ")})`;
