/**
 * The Worker's side of a lane: a loop that does calls on a store.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import { codeOf, messageOf, remedyOf } from "../../base/errors.ts";
import type { OpenStore } from "../../base/opened.ts";
import type { FromLane, LaneStore, ToLane } from "./protocol.ts";

/**
 * The bytes of an answer's messages that are posted at once. To wake the service's thread takes as
 * long as to write them.
 */
const POSTED = 64 << 10;

/** Messages wait no longer than this for others, in milliseconds, as long as any come. */
const LONGEST_WAIT = 100;

/** The Worker's global scope, which connects it with the service. */
export interface LaneScope {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** Sends messages of a store in a lane that are not answers. */
export interface LaneVoice {
  warn(message: string): void;
  /** Reports that a layer waits for deletion. */
  leftover(): void;
}

/** A store that a lane can open. */
interface StoreOfLane extends OpenStore {
  /** For a store of snapshots: see `SnapshotBackend`. */
  readonly mountsStay?: boolean;
}

/** The work of a lane. */
export interface LaneWork<Call, Store extends StoreOfLane> {
  /** Opens the store. */
  open(store: LaneStore, voice: LaneVoice): Promise<Store>;
  /**
   * Does a call. The messages of its answer are emitted one by one, and must not be used
   * afterwards.
   */
  perform(
    store: Store,
    call: Call,
    emit: (message: Bytes) => void,
  ): void;
}

/** Serves a lane until the message `close`. */
export function serveLane<Call, Store extends StoreOfLane>(
  scope: LaneScope,
  { open, perform }: LaneWork<Call, Store>,
): void {
  let store: Store | undefined;
  const post = (message: FromLane, transfer: Transferable[] = []) =>
    scope.postMessage(message, transfer);
  /** The answer's messages that are not posted yet, and their bytes. */
  let waiting: Bytes[] = [], size = 0, postedAt = 0;
  const postAll = (type: "messages" | "done") => {
    const messages = waiting;
    waiting = [];
    size = 0;
    postedAt = performance.now();
    post({ type, messages }, messages.map(({ buffer }) => buffer));
  };
  const emit = (bytes: Bytes) => {
    waiting.push(bytes);
    size += bytes.length;
    if (size >= POSTED || performance.now() - postedAt >= LONGEST_WAIT) postAll("messages");
  };
  const voice: LaneVoice = {
    warn: (message) => post({ type: "warning", message }),
    leftover: () => post({ type: "leftover" }),
  };

  const answer = async (message: ToLane<Call>): Promise<void> => {
    switch (message.type) {
      case "open": {
        store = await open(message.store, voice);
        const { home, name, mountsStay } = store;
        return post({ type: "opened", home, driver: name, mountsStay });
      }
      case "call":
        postedAt = performance.now();
        perform(store!, message.call, emit);
        return postAll("done");
      case "close":
        store?.close();
        post({ type: "closed" });
        scope.close();
    }
  };

  // The service sends the next message after the answer to this one.
  scope.onmessage = async ({ data }) => {
    try {
      await answer(data);
    } catch (error) {
      if (waiting.length > 0) postAll("messages");
      const remedy = remedyOf(error);
      post({ type: "error", error: { code: codeOf(error), message: messageOf(error), remedy } });
    }
  };
}
