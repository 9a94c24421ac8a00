/**
 * The server's side of an HTTP/2 connection (RFC 9113), without TLS and with prior knowledge.
 *
 * ```text
 * socket ─▶ frames ─▶ Connection ─▶ HeaderBlocks ─▶ Stream ─▶ its handler
 * socket ◀─ Sender ◀─ Outbound ◀──────────────────── Stream ◀─┘
 * ```
 *
 * If a client breaks the protocol, its connection is closed, with the reason in GOAWAY. So is that
 * of a client that wastes this server's time (`limits.ts`). Memory is bounded: while too much
 * output waits for the socket nothing is read, the number of streams is limited, and answers that
 * wait for a client's windows are limited by the handler.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import {
  ACK,
  check,
  ConnectionError,
  CONTINUATION,
  DATA,
  DEFAULT_WINDOW,
  ENABLE_PUSH,
  END_STREAM,
  type ErrorName,
  type Frame,
  frame,
  FRAME_HEADER,
  GOAWAY,
  goAwayFrame,
  HEADERS,
  INITIAL_WINDOW_SIZE,
  MAX_CONCURRENT_STREAMS,
  MAX_FRAME_SIZE,
  MAX_HEADER_LIST_SIZE,
  MAX_PAYLOAD,
  MAX_STREAM,
  MAX_WINDOW,
  parseFrame,
  PING,
  PREFACE,
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
import { type HeaderBlock, HeaderBlocks } from "./header_blocks.ts";
import type { Field } from "./hpack.ts";
import { LIMITS, Patience, Resets } from "./limits.ts";
import { Outbound } from "./outbound.ts";
import { Sender } from "./sender.ts";
import { requestHeaders, Stream, type StreamHandler } from "./stream.ts";

/** The number of remembered streams that this server ended early: their frames may still arrive. */
const REMEMBERED_RESETS = 512;

/**
 * The number of frames whose answers are joined into one write. A request has two frames or more.
 * While a client reads the answers to some requests, the next ones are handled.
 */
const GROUP = 8;

/** One client. {@linkcode run} serves it. */
export class Connection {
  readonly #conn: Deno.Conn;
  readonly #onStream: (stream: Stream) => StreamHandler;
  readonly #onActive: () => void;
  readonly #sender: Sender;
  readonly #outbound: Outbound;
  readonly #blocks = new HeaderBlocks();
  readonly #patience = new Patience();
  readonly #clientResets = new Resets();
  readonly #streams = new Map<number, Stream>();
  readonly #resets = new Set<number>();
  readonly #started = performance.now();

  #settled = false;
  #last = 0;
  #leaving = false;
  #closed = false;
  /** The bytes that the client has sent since its window was last increased. */
  #uncredited = 0;

  /**
   * @param onStream gets each request; its result gets the rest of the stream
   * @param onActive called when {@linkcode isTimed} may have become true
   */
  constructor(
    conn: Deno.Conn,
    onStream: (stream: Stream) => StreamHandler,
    onActive: () => void = () => {},
  ) {
    this.#conn = conn;
    this.#onStream = onStream;
    this.#onActive = onActive;
    this.#sender = new Sender(conn, onActive, () => this.close());
    this.#outbound = new Outbound(this.#sender, (stream) => this.#onAnswered(stream));
  }

  /** Whether no complete request waits for its answer, and no answer waits to be written. */
  get isIdle(): boolean {
    return this.#sender.stalledSince === undefined &&
      ![...this.#streams.values()].some(({ requestEnded }) => requestEnded);
  }

  /** Whether either side has ended the connection. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** The bytes of answers that wait for the client. */
  get pendingBytes(): number {
    return this.#outbound.pendingBytes;
  }

  /** Serves the client until the connection ends. Returns the reason if this server ended it. */
  async run(): Promise<string | undefined> {
    try {
      this.#greet();
      await this.#receive();
      return undefined;
    } catch (error) {
      if (!(error instanceof ConnectionError)) return undefined; // The client has left.
      await this.#sendAway(error.code, error.message);
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
      this.#onActive();
      const bytes = buffer.subarray(0, filled);
      let at = 0;
      if (!greeted) {
        checkPreface(bytes);
        if (filled < PREFACE.length) continue;
        greeted = true;
        at = PREFACE.length;
      }
      for (let start = -1; start < at;) {
        start = at;
        at = this.#handleSome(bytes, start);
        await this.#sender.below(LIMITS.output);
        if (this.#closed) return;
      }
      buffer.copyWithin(0, at, filled);
      filled -= at;
    }
  }

  /** Handles the next frames, and begins to write their answers. Returns the end of the frames. */
  #handleSome(bytes: Bytes, start: number): number {
    let at = start;
    this.#sender.joining(() => {
      for (let count = 0; count < GROUP; count++) {
        const next = parseFrame(bytes, at);
        if (next === undefined) return;
        this.#handle(next);
        at += FRAME_HEADER + next.payload.length;
      }
    });
    return at;
  }

  #handle(next: Frame): void {
    if (!this.#settled && (next.type !== SETTINGS || next.flags & ACK)) {
      throw new ConnectionError("PROTOCOL_ERROR", "the first frame is not SETTINGS");
    }
    this.#blocks.checkTurn(next);
    switch (next.type) {
      case DATA:
        return this.#onData(next);
      case HEADERS:
        return this.#onBlock(this.#blocks.begin(next));
      case CONTINUATION:
        return this.#onBlock(this.#blocks.continue(next));
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
        return this.#spend("GOAWAY"); // The client may finish its open streams.
      default:
        check(next.type > CONTINUATION, "PROTOCOL_ERROR", "PUSH_PROMISE of a client");
        return this.#spend("frames of unknown types");
    }
  }

  /** Counts an act that is allowed but useless. @throws {ConnectionError} if there are too many */
  #spend(what: string): void {
    check(this.#patience.spend(), "ENHANCE_YOUR_CALM", `too many: ${what}`);
  }

  #countReset(): void {
    check(this.#clientResets.count(), "ENHANCE_YOUR_CALM", "too many streams ended early");
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
   * Increases the client's windows by the bytes that it has sent, half a window at a time. Bodies
   * are read as they arrive, so windows do not delay a client; the length of a body is limited
   * elsewhere.
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

  /**
   * Handles DATA or HEADERS of a stream that is not open. That is an error unless this server ended
   * the stream early.
   */
  #onLate(id: number): void {
    check(id % 2 === 1 && id <= this.#last, "PROTOCOL_ERROR", `stream ${id} was not opened`);
    check(this.#resets.has(id), "STREAM_CLOSED", `stream ${id} has ended`);
    this.#spend("frames of ended streams");
  }

  #onBlock(block: HeaderBlock | undefined): void {
    if (block === undefined) return;
    const { stream: id, fields, end, oversized } = block;
    const stream = this.#streams.get(id);
    if (stream !== undefined) return this.#onTrailers(stream, fields, end);
    if (id <= this.#last) return this.#onLate(id);
    this.#last = id;
    if (this.#streams.size >= LIMITS.streams) {
      this.#countReset();
      return this.#resetStream(id, "REFUSED_STREAM");
    }
    const headers = oversized ? new Map<string, string>() : requestHeaders(fields);
    if (headers === undefined) {
      this.#countReset();
      return this.#resetStream(id, "PROTOCOL_ERROR");
    }
    const opened = new Stream(this.#outbound, id, headers, this.#outbound.initialWindow);
    this.#open(opened, { end, oversized });
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

  #onReset({ stream: id, payload }: Frame): void {
    check(payload.length === 4, "FRAME_SIZE_ERROR", "RST_STREAM");
    check(id % 2 === 1 && id <= this.#last, "PROTOCOL_ERROR", `RST_STREAM of stream ${id}`);
    this.#countReset();
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
    this.#outbound.pumpBlocked();
  }

  #set(setting: number, value: number): void {
    switch (setting) {
      case ENABLE_PUSH:
        return check(value <= 1, "PROTOCOL_ERROR", "ENABLE_PUSH");
      case MAX_FRAME_SIZE:
        return check(value >= MAX_PAYLOAD && value < 1 << 24, "PROTOCOL_ERROR", "MAX_FRAME_SIZE");
      case INITIAL_WINDOW_SIZE:
        return this.#outbound.setInitialWindow(value, this.#streams.values());
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
      return this.#outbound.enlarge(increment);
    }
    check(id % 2 === 1 && id <= this.#last, "PROTOCOL_ERROR", `WINDOW_UPDATE of stream ${id}`);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.sendWindow += increment;
    if (increment === 0) return this.#abort(stream, "PROTOCOL_ERROR");
    if (stream.sendWindow > MAX_WINDOW) return this.#abort(stream, "FLOW_CONTROL_ERROR");
    this.#outbound.pump(stream);
  }

  /**
   * Ends a stream whose answer is complete. A client that has not ended its request is asked to
   * stop sending it.
   */
  #onAnswered(stream: Stream): void {
    this.#patience.reward();
    this.#forget(stream);
    if (!stream.requestEnded) this.#resetStream(stream.id, "NO_ERROR");
  }

  /** Ends a stream because of an error of the client. */
  #abort(stream: Stream, code: ErrorName): void {
    this.#countReset();
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
    this.#outbound.forget(stream);
    this.#streams.delete(stream.id);
  }

  /** Asks the client to make no more requests. Requests that it has already sent are answered. */
  leave(): void {
    if (this.#leaving || this.#closed) return;
    this.#leaving = true;
    this.#sender.push(goAwayFrame(MAX_STREAM, "NO_ERROR"));
  }

  /**
   * Ends the connection after the queued frames are written, or after a time if the client does not
   * read them.
   */
  async end(): Promise<void> {
    if (!this.#closed) await this.#sendAway("NO_ERROR");
    this.close();
  }

  async #sendAway(code: ErrorName, reason = ""): Promise<void> {
    this.#sender.push(goAwayFrame(this.#last, code, reason));
    const timer = setTimeout(() => this.close(), LIMITS.handshakeTime);
    await this.#sender.drained();
    clearTimeout(timer);
  }

  /** Whether the connection waits for an act of the client that has a time limit. */
  get isTimed(): boolean {
    if (this.#closed) return false;
    return !this.#settled || this.#blocks.since !== undefined ||
      this.#sender.stalledSince !== undefined || this.#outbound.blockedSince !== undefined ||
      [...this.#streams.values()].some(({ requestEnded }) => !requestEnded);
  }

  /**
   * Ends the connection, or a request, if the client is too slow. To be called from time to time
   * while {@linkcode isTimed}.
   */
  checkTime(now: number): void {
    const isLate = (!this.#settled && now - this.#started > LIMITS.handshakeTime) ||
      now - (this.#blocks.since ?? now) > LIMITS.handshakeTime ||
      now - (this.#sender.stalledSince ?? now) > LIMITS.stallTime ||
      now - (this.#outbound.blockedSince ?? now) > LIMITS.stallTime;
    if (isLate) return this.close();
    for (const stream of [...this.#streams.values()]) {
      if (stream.requestEnded || now - stream.since <= LIMITS.requestTime) continue;
      this.#forget(stream);
      this.#resetStream(stream.id, "CANCEL");
      stream.handler?.reset();
    }
  }

  /** Ends the connection at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // It is already closed.
    }
    const streams = [...this.#streams.values()];
    for (const stream of streams) this.#forget(stream);
    for (const stream of streams) stream.handler?.reset();
  }
}

function checkPreface(bytes: Bytes): void {
  const length = Math.min(bytes.length, PREFACE.length);
  for (let i = 0; i < length; i++) {
    check(bytes[i] === PREFACE[i], "PROTOCOL_ERROR", "the client does not speak HTTP/2");
  }
}
