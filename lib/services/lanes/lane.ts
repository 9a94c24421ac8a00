/**
 * A lane from its own side: the loop of a Worker that does calls on a store.
 *
 * @module
 */
import { codeOf, messageOf } from "../../base/errors.ts";
import type { Snapshotter } from "../../snapshots/snapshotter.ts";
import type { FromLane, LaneStore, ToLane } from "./protocol.ts";

/** The other end, as a Worker sees it. */
export interface LaneScope {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** What a lane does. */
export interface LaneWork<Call> {
  /** Opens the store. */
  open(store: LaneStore, warn: (message: string) => void): Snapshotter;
  /** Does a call; returns the messages of its answer, which are handed over. */
  perform(snapshotter: Snapshotter, call: Call): Uint8Array<ArrayBuffer>[];
}

/** Serves a lane until it is told to close. */
export function serveLane<Call>(scope: LaneScope, { open, perform }: LaneWork<Call>): void {
  let snapshotter: Snapshotter | undefined;
  const post = (message: FromLane, transfer: Transferable[] = []) =>
    scope.postMessage(message, transfer);
  const warn = (message: string) => post({ type: "warning", message });

  const answer = (message: ToLane<Call>): void => {
    switch (message.type) {
      case "open": {
        snapshotter = open(message.store, warn);
        return post({ type: "opened", home: snapshotter.home, driver: snapshotter.driver });
      }
      case "call": {
        const messages = perform(snapshotter!, message.call);
        return post({ type: "answer", messages }, messages.map(({ buffer }) => buffer));
      }
      case "close":
        snapshotter?.close();
        post({ type: "closed" });
        scope.close();
    }
  };

  scope.onmessage = ({ data }) => {
    try {
      answer(data);
    } catch (error) {
      post({ type: "error", error: { code: codeOf(error), message: messageOf(error) } });
    }
  };
}
