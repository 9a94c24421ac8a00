/**
 * A lane on the calling thread, which does nothing else during a call.
 *
 * A Worker costs a tenth of a second and more to start. A caller that only waits for a lane saves
 * that by lending its own thread.
 *
 * @module
 */
import type { LaneScope } from "./lane.ts";
import type { LanePort } from "./protocol.ts";

/** @param serve serves the lane, as its Worker would */
export function laneHere(serve: (scope: LaneScope) => void): LanePort {
  const eventOf = (data: unknown) => new MessageEvent("message", { data });
  const scope: LaneScope = {
    onmessage: null,
    postMessage: (data) => port.onmessage?.(eventOf(data)),
    close() {},
  };
  const port: LanePort = {
    onmessage: null,
    onerror: null,
    // Not at once: messages to other lanes may have to be on their way before this thread is busy.
    postMessage: (data) => void setTimeout(() => scope.onmessage?.(eventOf(data))),
    terminate() {
      scope.onmessage = null;
    },
  };
  serve(scope);
  return port;
}
