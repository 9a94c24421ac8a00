/**
 * An HTTP/2 connection (RFC 9113) from the server's side, without TLS and with prior knowledge.
 *
 * A client that breaks the protocol loses its connection, with the reason in GOAWAY. One that keeps to it and
 * wastes this server's time (`limits.ts`) loses it as well. Memory is bounded: nothing more is read while answers
 * wait for the socket, and a body that is not read waits in its stream, of which there are a limited number.
 *
 * @module
 */
import { type Bytes, joined } from "../bytes.ts";
import {
  ACK,
  ConnectionError,
  CONTINUATION,
  DATA,
  DEFAULT_WINDOW,
  ENABLE_PUSH,
  END_HEADERS,
  END_STREAM,
  type ErrorName,
  type Frame,
  frame,
  FRAME_HEADER,
  frameHeader,
  GOAWAY,
  goAwayFrame,
  HEADERS,
  INITIAL_WINDOW_SIZE,
  MAX_CONCURRENT_STREAMS,
  MAX_FRAME_SIZE,
  MAX_HEADER_LIST_SIZE,
  MAX_PAYLOAD,
  MAX_WINDOW,
  parseFrame,
  PING,
  PREFACE,
  PRIORITIZED,
  PRIORITY,
  readU32,
  resetFrame,
  RST_STREAM,
  SETTINGS,
  settingsFrame,
  unpadded,
  WINDOW_UPDATE,
  windowFrame,
} from "./frames.ts";
import { encodeFields, type Field, HpackDecoder, HpackError } from "./hpack.ts";
import { LIMITS, Patience } from "./limits.ts";
import { Sender } from "./sender.ts";
import { requestHeaders, Stream, type StreamHandler, type StreamPort } from "./stream.ts";

/** Streams that this server ended early and whose frames may still be under way. */
const REMEMBERED_RESETS = 512;

/** A header block that is being received. */
interface Block {
  readonly stream: number;
  readonly end: boolean;
  readonly since: number;
  readonly parts: Bytes[];
  size: number;
}

/** One client. {@linkcode run} serves it. */
export class Connection implements StreamPort {
  readonly #conn: Deno.Conn;
  readonly #onStream: (stream: Stream) => StreamHandler;
  readonly #sender: Sender;
  readonly #decoder = new HpackDecoder();
  readonly #patience = new Patience();
  readonly #streams = new Map<number, Stream>();
  readonly #resets = new Set<number>();
  readonly #started = performance.now();

  #settled = false;
  #block: Block | undefined;
  #last = 0;
  #leaving = false;
  #closed = false;

  #uncredited = 0;
  #sendWindow = DEFAULT_WINDOW;
  #initialSendWindow = DEFAULT_WINDOW;
  /** Streams whose body waits for a window, the one that waits longest first. */
  readonly #blocked = new Set<Stream>();
  #blockedSince = 0;

  /** @param onStream told of each request; what it returns is told the rest */
  constructor(conn: Deno.Conn, onStream: (stream: Stream) => StreamHandler) {
    this.#conn = conn;
    this.#onStream = onStream;
    this.#sender = new Sender(conn, () => this.close());
  }

  /** Whether no complete request waits for its answer, or for the answer to be written. */
  get isIdle(): boolean {
    return this.#sender.stalledSince === undefined &&
      ![...this.#streams.values()].some(({ requestEnded }) => requestEnded);
  }

  /** Whether it has ended, by either side. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** The bytes of answers that wait for the client's windows. */
  get pendingBytes(): number {
    let bytes = 0;
    for (const { pending } of this.#blocked) for (const part of pending) bytes += part.length;
    return bytes;
  }

  /** Serves the client until it leaves or is sent away. Returns why, if it was sent away. */
  async run(): Promise<string | undefined> {
    try {
      this.#greet();
      await this.#receive();
      return undefined;
    } catch (error) {
      if (!(error instanceof ConnectionError)) return undefined; // The socket failed: the client is gone.
      this.#sender.push(goAwayFrame(this.#last, error.code, error.message));
      const timer = setTimeout(() => this.close(), LIMITS.handshakeTime);
      await this.#sender.drained();
      clearTimeout(timer);
      return `${error.code}: ${error.message}`;
    } finally {
      this.close();
    }
  }

  #greet(): void {
    this.#sender.push(settingsFrame([
      [MAX_CONCURRENT_STREAMS, LIMITS.streams],
      [INITIAL_WINDOW_SIZE, LIMITS.streamWindow],
      [MAX_HEADER_LIST_SIZE, LIMITS.headerList],
    ]));
    this.#sender.push(windowFrame(0, LIMITS.connectionWindow - DEFAULT_WINDOW));
  }

  async #receive(): Promise<void> {
    const buffer = new Uint8Array(4 * (FRAME_HEADER + MAX_PAYLOAD));
    let filled = 0, greeted = false;
    for (;;) {
      const count = await this.#conn.read(buffer.subarray(filled));
      if (count === null) return;
      filled += count;
      const bytes = buffer.subarray(0, filled);
      let at = 0;
      if (!greeted) {
        checkPreface(bytes);
        if (filled < PREFACE.length) continue;
        greeted = true;
        at = PREFACE.length;
      }
      for (let next = parseFrame(bytes, at); next !== undefined; next = parseFrame(bytes, at)) {
        this.#handle(next);
        at += FRAME_HEADER + next.payload.length;
      }
      buffer.copyWithin(0, at, filled);
      filled -= at;
      await this.#sender.below(LIMITS.output);
      if (this.#closed) return;
    }
  }

  #handle(next: Frame): void {
    if (!this.#settled && (next.type !== SETTINGS || next.flags & ACK)) {
      throw new ConnectionError("PROTOCOL_ERROR", "the first frame is not SETTINGS");
    }
    if (this.#block !== undefined && next.type !== CONTINUATION) {
      throw new ConnectionError("PROTOCOL_ERROR", "a frame inside a header block");
    }
    switch (next.type) {
      case DATA:
        return this.#onData(next);
      case HEADERS:
        return this.#onHeaders(next);
      case CONTINUATION:
        return this.#onContinuation(next);
      case RST_STREAM:
        return this.#onReset(next);
      case SETTINGS:
        return this.#onSettings(next);
      case PING:
        return this.#onPing(next);
      case WINDOW_UPDATE:
        return this.#onWindowUpdate(next);
      case PRIORITY:
        check(next.stream !== 0, "PROTOCOL_ERROR", "PRIORITY of the connection");
        check(next.payload.length === 5, "FRAME_SIZE_ERROR", "PRIORITY");
        return this.#spend("PRIORITY");
      case GOAWAY:
        check(next.stream === 0, "PROTOCOL_ERROR", "GOAWAY of a stream");
        return this.#spend("GOAWAY"); // The client finishes what it began.
      default:
        check(next.type > CONTINUATION, "PROTOCOL_ERROR", "PUSH_PROMISE of a client");
        return this.#spend("frames of unknown types");
    }
  }

  /** Counts an act that serves nothing. @throws {ConnectionError} for one too many */
  #spend(what: string): void {
    check(this.#patience.spend(), "ENHANCE_YOUR_CALM", `too many: ${what}`);
  }

  #onData(received: Frame): void {
    const { stream: id, flags, payload: { length } } = received;
    check(id !== 0, "PROTOCOL_ERROR", "DATA of the connection");
    const body = unpadded(received);
    this.#credit(length);
    const stream = this.#streams.get(id);
    if (stream === undefined) return this.#onLate(id);
    if (stream.requestEnded) return this.#abort(stream, "STREAM_CLOSED");
    stream.received += body.length;
    const end = (flags & END_STREAM) !== 0;
    if (body.length > 0) stream.handler!.data(body);
    else if (!end) this.#spend("empty DATA");
    if (stream.closed) return;
    if (end) this.#endRequest(stream);
    else this.#creditStream(stream, length);
  }

  /**
   * Allows the client to send again what it sent: half a window at a time. Since every body is taken as it comes, the
   * windows hold nobody up and cannot be overrun; what a body may be is limited elsewhere.
   */
  #credit(length: number): void {
    this.#uncredited += length;
    if (this.#uncredited < LIMITS.connectionWindow / 2) return;
    this.#sender.push(windowFrame(0, this.#uncredited));
    this.#uncredited = 0;
  }

  #creditStream(stream: Stream, length: number): void {
    stream.uncredited += length;
    if (stream.uncredited < LIMITS.streamWindow / 2) return;
    this.#sender.push(windowFrame(stream.id, stream.uncredited));
    stream.uncredited = 0;
  }

  /** DATA or HEADERS of a stream that is not open: no fault if this server ended it early. */
  #onLate(id: number): void {
    check(id % 2 === 1 && id <= this.#last, "PROTOCOL_ERROR", `stream ${id} was not opened`);
    check(this.#resets.has(id), "STREAM_CLOSED", `stream ${id} has ended`);
    this.#spend("frames of ended streams");
  }

  #onHeaders(received: Frame): void {
    const { stream, flags } = received;
    check(stream % 2 === 1, "PROTOCOL_ERROR", `HEADERS of stream ${stream}`);
    let part = unpadded(received);
    if (flags & PRIORITIZED) {
      check(part.length >= 5, "FRAME_SIZE_ERROR", "HEADERS");
      part = part.subarray(5);
    }
    const end = (flags & END_STREAM) !== 0;
    this.#block = { stream, end, since: performance.now(), parts: [], size: 0 };
    this.#addToBlock(part, flags);
  }

  #onContinuation({ stream, flags, payload }: Frame): void {
    const block = this.#block;
    check(block?.stream === stream, "PROTOCOL_ERROR", "CONTINUATION of no header block");
    const isFlood = block!.parts.length > LIMITS.continuations;
    check(!isFlood, "ENHANCE_YOUR_CALM", "too many: CONTINUATION");
    this.#addToBlock(payload, flags);
  }

  #addToBlock(part: Bytes, flags: number): void {
    const block = this.#block!;
    block.size += part.length;
    check(block.size <= LIMITS.headerBlock, "ENHANCE_YOUR_CALM", "the header block is too long");
    if ((flags & END_HEADERS) === 0) {
      block.parts.push(part.slice());
      return;
    }
    this.#block = undefined;
    this.#onBlock(block, block.parts.length === 0 ? part : joined([...block.parts, part]));
  }

  /** Decodes every block, also one of no use: the table that they share must stay in step. */
  #onBlock({ stream: id, end }: Block, encoded: Bytes): void {
    const { fields, oversized } = this.#decode(encoded);
    const stream = this.#streams.get(id);
    if (stream !== undefined) return this.#onTrailers(stream, fields, end);
    if (id <= this.#last) return this.#onLate(id);
    this.#last = id;
    if (this.#leaving || this.#streams.size >= LIMITS.streams) {
      this.#spend("streams beyond the limit");
      return this.#resetStream(id, "REFUSED_STREAM");
    }
    const headers = oversized ? new Map<string, string>() : requestHeaders(fields);
    if (headers === undefined) {
      this.#spend("malformed requests");
      return this.#resetStream(id, "PROTOCOL_ERROR");
    }
    this.#open(new Stream(this, id, headers, this.#initialSendWindow), { end, oversized });
  }

  #open(stream: Stream, { end, oversized }: { end: boolean; oversized: boolean }): void {
    this.#streams.set(stream.id, stream);
    if (oversized) {
      stream.respond([[":status", "431"]], true);
      return;
    }
    stream.handler = this.#onStream(stream);
    if (end && !stream.closed) this.#endRequest(stream);
  }

  #onTrailers(stream: Stream, fields: readonly Field[], end: boolean): void {
    if (stream.requestEnded) return this.#abort(stream, "STREAM_CLOSED");
    const isValid = end && fields.every(([name]) => !name.startsWith(":"));
    if (!isValid) return this.#abort(stream, "PROTOCOL_ERROR");
    this.#endRequest(stream);
  }

  #endRequest(stream: Stream): void {
    stream.requestEnded = true;
    const length = stream.headers.get("content-length");
    if (length !== undefined && Number(length) !== stream.received) {
      return this.#abort(stream, "PROTOCOL_ERROR");
    }
    stream.handler!.end();
  }

  #decode(block: Bytes) {
    try {
      return this.#decoder.decode(block, LIMITS.headerList);
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      throw new ConnectionError("COMPRESSION_ERROR", error.message);
    }
  }

  #onReset({ stream: id, payload }: Frame): void {
    check(payload.length === 4, "FRAME_SIZE_ERROR", "RST_STREAM");
    check(id % 2 === 1 && id <= this.#last, "PROTOCOL_ERROR", `RST_STREAM of stream ${id}`);
    this.#spend("RST_STREAM");
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#forget(stream);
    stream.handler?.reset();
  }

  #onSettings({ stream, flags, payload }: Frame): void {
    check(stream === 0, "PROTOCOL_ERROR", "SETTINGS of a stream");
    const isAck = (flags & ACK) !== 0;
    check(
      payload.length % 6 === 0 && !(isAck && payload.length > 0),
      "FRAME_SIZE_ERROR",
      "SETTINGS",
    );
    this.#spend("SETTINGS");
    if (isAck) return;
    this.#settled = true;
    for (let at = 0; at < payload.length; at += 6) {
      this.#set(payload[at] << 8 | payload[at + 1], readU32(payload, at + 2));
    }
    this.#sender.push(frame(SETTINGS, ACK, 0, new Uint8Array()));
    this.#pumpBlocked();
  }

  #set(setting: number, value: number): void {
    switch (setting) {
      case ENABLE_PUSH:
        return check(value <= 1, "PROTOCOL_ERROR", "ENABLE_PUSH");
      case MAX_FRAME_SIZE:
        return check(value >= MAX_PAYLOAD && value < 1 << 24, "PROTOCOL_ERROR", "MAX_FRAME_SIZE");
      case INITIAL_WINDOW_SIZE: {
        check(value <= MAX_WINDOW, "FLOW_CONTROL_ERROR", "INITIAL_WINDOW_SIZE");
        const change = value - this.#initialSendWindow;
        this.#initialSendWindow = value;
        for (const stream of this.#streams.values()) {
          stream.sendWindow += change;
          check(stream.sendWindow <= MAX_WINDOW, "FLOW_CONTROL_ERROR", "INITIAL_WINDOW_SIZE");
        }
      }
    }
  }

  #onPing({ stream, flags, payload }: Frame): void {
    check(stream === 0, "PROTOCOL_ERROR", "PING of a stream");
    check(payload.length === 8, "FRAME_SIZE_ERROR", "PING");
    this.#spend("PING");
    if ((flags & ACK) === 0) this.#sender.push(frame(PING, ACK, 0, payload));
  }

  #onWindowUpdate({ stream: id, payload }: Frame): void {
    check(payload.length === 4, "FRAME_SIZE_ERROR", "WINDOW_UPDATE");
    this.#spend("WINDOW_UPDATE");
    const increment = readU32(payload, 0) & 0x7fffffff;
    if (id === 0) {
      check(increment > 0, "PROTOCOL_ERROR", "WINDOW_UPDATE of 0");
      this.#sendWindow += increment;
      check(this.#sendWindow <= MAX_WINDOW, "FLOW_CONTROL_ERROR", "WINDOW_UPDATE");
      return this.#pumpBlocked();
    }
    check(id % 2 === 1 && id <= this.#last, "PROTOCOL_ERROR", `WINDOW_UPDATE of stream ${id}`);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.sendWindow += increment;
    if (increment === 0) return this.#abort(stream, "PROTOCOL_ERROR");
    if (stream.sendWindow > MAX_WINDOW) return this.#abort(stream, "FLOW_CONTROL_ERROR");
    this.pump(stream);
  }

  sendHeaders(stream: Stream, fields: readonly Field[], end: boolean): void {
    const flags = END_HEADERS | (end ? END_STREAM : 0);
    this.#sender.push(frame(HEADERS, flags, stream.id, encodeFields(fields)));
    if (end) this.#finish(stream);
  }

  pump(stream: Stream): void {
    const { pending } = stream;
    while (pending.length > 0) {
      const first = pending[0];
      const length = Math.min(first.length, MAX_PAYLOAD, this.#sendWindow, stream.sendWindow);
      if (length <= 0) {
        if (this.#blocked.size === 0) this.#blockedSince = performance.now();
        this.#blocked.add(stream);
        return;
      }
      this.#sender.push(frameHeader(DATA, 0, stream.id, length));
      this.#sender.push(first.subarray(0, length));
      if (length === first.length) pending.shift();
      else pending[0] = first.subarray(length);
      this.#sendWindow -= length;
      stream.sendWindow -= length;
      this.#blockedSince = performance.now();
    }
    this.#blocked.delete(stream);
    if (stream.trailers !== undefined) this.sendHeaders(stream, stream.trailers, true);
  }

  #pumpBlocked(): void {
    for (const stream of [...this.#blocked]) this.pump(stream);
  }

  /** The answer is complete. The client is told to send no more of a request that it did not end. */
  #finish(stream: Stream): void {
    this.#patience.reward();
    this.#forget(stream);
    if (!stream.requestEnded) this.#resetStream(stream.id, "NO_ERROR");
  }

  /** Ends a stream for a fault of the client's. */
  #abort(stream: Stream, code: ErrorName): void {
    this.#spend("faults in streams");
    this.#forget(stream);
    this.#resetStream(stream.id, code);
    stream.handler?.reset();
  }

  #resetStream(id: number, code: ErrorName): void {
    this.#sender.push(resetFrame(id, code));
    this.#resets.add(id);
    if (this.#resets.size > REMEMBERED_RESETS) {
      this.#resets.delete(this.#resets.values().next().value!);
    }
  }

  #forget(stream: Stream): void {
    stream.closed = true;
    stream.pending.length = 0;
    this.#streams.delete(stream.id);
    this.#blocked.delete(stream);
  }

  /** Takes no more requests; those that were begun are answered. */
  leave(): void {
    if (this.#leaving || this.#closed) return;
    this.#leaving = true;
    this.#sender.push(goAwayFrame(this.#last, "NO_ERROR"));
  }

  /** Ends the connection for a client that is too slow. To be called from time to time. */
  checkTime(now: number): void {
    const isLate = (!this.#settled && now - this.#started > LIMITS.handshakeTime) ||
      (this.#block !== undefined && now - this.#block.since > LIMITS.handshakeTime) ||
      now - (this.#sender.stalledSince ?? now) > LIMITS.stallTime ||
      (this.#blocked.size > 0 && now - this.#blockedSince > LIMITS.stallTime);
    if (isLate) this.close();
  }

  /** Ends the connection at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // The client has closed it.
    }
    const streams = [...this.#streams.values()];
    for (const stream of streams) this.#forget(stream);
    for (const stream of streams) stream.handler?.reset();
  }
}

/** @throws {ConnectionError} unless the condition holds */
function check(condition: boolean, code: ErrorName, message: string): void {
  if (!condition) throw new ConnectionError(code, message);
}

function checkPreface(bytes: Bytes): void {
  const length = Math.min(bytes.length, PREFACE.length);
  for (let i = 0; i < length; i++) {
    check(bytes[i] === PREFACE[i], "PROTOCOL_ERROR", "the client does not speak HTTP/2");
  }
}
