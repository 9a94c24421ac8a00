/**
 * The messages between a service and its lanes. A lane is a thread with its own open store; it does
 * one call at a time, synchronously, so that messages need no numbers.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { Remedy } from "../../base/remedy.ts";

/**
 * The options for opening a store, from the command line, in a form that can be sent to another
 * thread.
 */
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
  readonly remedy: Remedy | undefined;
}

/** To a lane: first `open`, then calls, then `close`. */
export type ToLane<Call> =
  | { readonly type: "open"; readonly store: LaneStore }
  | { readonly type: "call"; readonly call: Call }
  | { readonly type: "close" };

/** The end of the work on a message to a lane; there is one for each message. */
export type LaneAnswer =
  | {
    readonly type: "opened";
    readonly home: string;
    readonly driver: string;
    /** Of a store of snapshots: see `SnapshotBackend`. */
    readonly mountsStay?: boolean;
  }
  /** With the last message of the call's answer: together they are written to a client at once. */
  | { readonly type: "done"; readonly bytes?: Bytes }
  | { readonly type: "error"; readonly error: LaneError }
  | { readonly type: "closed" };

/** From a lane: the answer, and before it any number of the others. */
export type FromLane =
  | LaneAnswer
  /** A message of a call's answer. */
  | { readonly type: "message"; readonly bytes: Bytes }
  | { readonly type: "warning"; readonly message: string }
  /** Something waits to be deleted. */
  | { readonly type: "leftover" };

/** A lane as a service knows it: a `Worker`, of which it does not know the module. */
export interface LanePort {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  terminate(): void;
}
