/**
 * What a service and its lanes say to each other. A lane is a thread with a store of its own opened in it; it does
 * one call at a time, synchronously, so that messages need no numbers.
 *
 * @module
 */
import type { ErrorCode } from "../../base/errors.ts";

/** How a store is opened: what the command line says, in a form that can be sent to another thread. */
export interface LaneStore {
  readonly root: string;
  readonly driver: string;
  readonly options: readonly string[];
  readonly uidmap: readonly string[];
  readonly gidmap: readonly string[];
}

/** An error, without the class that it loses on the way. */
export interface LaneError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** To a lane: first `open`, then calls, then `close`. */
export type ToLane<Call> =
  | { readonly type: "open"; readonly store: LaneStore }
  | { readonly type: "call"; readonly call: Call }
  | { readonly type: "close" };

/** From a lane: one of these for each message to it, and warnings in between. */
export type FromLane =
  | { readonly type: "opened"; readonly home: string; readonly driver: string }
  | { readonly type: "answer"; readonly messages: readonly Uint8Array<ArrayBuffer>[] }
  | { readonly type: "error"; readonly error: LaneError }
  | { readonly type: "closed" }
  | { readonly type: "warning"; readonly message: string };

/** A lane as a service knows it: a `Worker`, of which it does not know the module. */
export interface LanePort {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  terminate(): void;
}
