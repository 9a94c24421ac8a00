/**
 * The output of a connection's streams. The header fields of answers are sent at once, their bodies
 * as fast as the client's windows allow.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import {
  check,
  DATA,
  DEFAULT_WINDOW,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  MAX_PAYLOAD,
  MAX_WINDOW,
} from "./frames.ts";
import { encodeFields, type Field } from "./hpack.ts";
import type { Sender } from "./sender.ts";
import type { Stream, StreamPort } from "./stream.ts";

/** The encoded blocks of lists of fields: most answers have the same lists. */
const blocks = new WeakMap<readonly Field[], Bytes>();

/** Encodes a list, which must no longer change. */
function blockOf(fields: readonly Field[]): Bytes {
  let block = blocks.get(fields);
  if (block === undefined) blocks.set(fields, block = encodeFields(fields));
  return block;
}

/** The sending side of one connection. */
export class Outbound implements StreamPort {
  readonly #sender: Sender;
  readonly #onAnswered: (stream: Stream) => void;
  /** The connection's window, in bytes. */
  #window = DEFAULT_WINDOW;
  /** The window of a new stream, in bytes. */
  #initialWindow = DEFAULT_WINDOW;
  /** The streams whose body waits for a window, the longest wait first. */
  readonly #blocked = new Set<Stream>();
  #blockedSince = 0;
  #waiting = 0;

  /** @param onAnswered gets each stream whose answer is complete */
  constructor(sender: Sender, onAnswered: (stream: Stream) => void) {
    this.#sender = sender;
    this.#onAnswered = onAnswered;
  }

  get initialWindow(): number {
    return this.#initialWindow;
  }

  /** The bytes of answers that wait for windows or for the socket. */
  get pendingBytes(): number {
    return this.#waiting + this.#sender.queued;
  }

  /**
   * The time since which no body was sent although bodies wait for windows, on the clock of
   * `performance.now()`; `undefined` if none waits.
   */
  get blockedSince(): number | undefined {
    return this.#blocked.size === 0 ? undefined : this.#blockedSince;
  }

  sendHeaders(stream: Stream, fields: readonly Field[], end: boolean): void {
    const flags = END_HEADERS | (end ? END_STREAM : 0);
    this.#sender.push(frame(HEADERS, flags, stream.id, blockOf(fields)));
    if (end) this.#onAnswered(stream);
  }

  send(stream: Stream, bytes: Bytes): void {
    stream.pending.push(bytes);
    this.#waiting += bytes.length;
    this.pump(stream);
  }

  pump(stream: Stream): void {
    const { pending } = stream;
    let next = 0;
    while (next < pending.length) {
      const first = pending[next];
      const length = Math.min(first.length, MAX_PAYLOAD, this.#window, stream.sendWindow);
      if (length <= 0) {
        if (this.#blocked.size === 0) this.#blockedSince = performance.now();
        this.#blocked.add(stream);
        break;
      }
      this.#sender.push(frame(DATA, 0, stream.id, first.subarray(0, length)));
      if (length === first.length) next++;
      else pending[next] = first.subarray(length);
      this.#waiting -= length;
      this.#window -= length;
      stream.sendWindow -= length;
      this.#blockedSince = performance.now();
    }
    pending.splice(0, next);
    if (pending.length > 0) return;
    this.#blocked.delete(stream);
    if (stream.trailers !== undefined) this.sendHeaders(stream, stream.trailers, true);
  }

  /** Discards the output of a stream. */
  forget(stream: Stream): void {
    for (const { length } of stream.pending) this.#waiting -= length;
    stream.pending.length = 0;
    this.#blocked.delete(stream);
  }

  /**
   * Enlarges the connection's window for the client. @throws {ConnectionError} if it becomes too
   * large
   */
  enlarge(increment: number): void {
    this.#window += increment;
    check(this.#window <= MAX_WINDOW, "FLOW_CONTROL_ERROR", "WINDOW_UPDATE");
    this.pumpBlocked();
  }

  /**
   * Changes the window of new streams for the client, and the windows of open streams by the same
   * amount.
   *
   * @throws {ConnectionError} if a window becomes too large
   */
  setInitialWindow(value: number, open: Iterable<Stream>): void {
    check(value <= MAX_WINDOW, "FLOW_CONTROL_ERROR", "INITIAL_WINDOW_SIZE");
    const change = value - this.#initialWindow;
    this.#initialWindow = value;
    for (const stream of open) {
      stream.sendWindow += change;
      check(stream.sendWindow <= MAX_WINDOW, "FLOW_CONTROL_ERROR", "INITIAL_WINDOW_SIZE");
    }
  }

  /** Sends as much as the increased windows allow. */
  pumpBlocked(): void {
    for (const stream of [...this.#blocked]) this.pump(stream);
  }
}
