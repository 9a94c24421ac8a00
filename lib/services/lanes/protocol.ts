/**
 * The messages between a service and its lanes. A lane is a thread that has the store open itself.
 * It does one call at a time, synchronously, so messages need no numbers.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { Remedy } from "../../base/remedy.ts";

/** The options for opening a store, in a form that can be sent to another thread. */
export interface LaneStore {
  readonly root: string;
  readonly driver: string;
  readonly options: readonly string[];
  readonly uidmap: readonly string[];
  readonly gidmap: readonly string[];
}

/** An error as plain data, because a message to another thread loses its class. */
export interface LaneError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: Remedy | undefined;
}

/** The messages to a lane: first `open`, then calls, then `close`. */
export type ToLane<Call> =
  | { readonly type: "open"; readonly store: LaneStore }
  | { readonly type: "call"; readonly call: Call }
  | { readonly type: "close" };

/** The end of a lane's work on a message. There is one for each message. */
export type LaneAnswer =
  | {
    readonly type: "opened";
    readonly home: string;
    readonly driver: string;
    /** For a store of snapshots: see `SnapshotBackend`. */
    readonly mountsStay?: boolean;
  }
  /**
   * It contains the last messages of the call's answer, so that both are written to the client at
   * once.
   */
  | { readonly type: "done"; readonly messages?: readonly Bytes[] }
  | { readonly type: "error"; readonly error: LaneError }
  | { readonly type: "closed" };

/** The messages from a lane: any number of others, and then the answer. */
export type FromLane =
  | LaneAnswer
  /** Messages of a call's answer. */
  | { readonly type: "messages"; readonly messages: readonly Bytes[] }
  | { readonly type: "warning"; readonly message: string }
  /** A layer waits for deletion. */
  | { readonly type: "leftover" };

/**
 * A lane for a service: a `Worker`, or what `here.ts` makes. The service does not import the Worker's
 * module.
 */
export interface LanePort {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  terminate(): void;
}
