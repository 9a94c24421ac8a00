/**
 * The server's side of one exchange on an HTTP/2 connection: a request, and an answer that is sent
 * as fast as the client's windows allow.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Field } from "./hpack.ts";

/** Gets the input of a stream, in this order. After `reset` nothing is called. */
export interface StreamHandler {
  /** Called for each part of the request's body. The bytes are valid only during the call. */
  data(bytes: Bytes): void;
  /** The request is complete. */
  end(): void;
  /** Called if the client cancels the exchange, or if the connection has ended. */
  reset(): void;
}

/** The parts of a connection that a stream uses. */
export interface StreamPort {
  sendHeaders(stream: Stream, fields: readonly Field[], end: boolean): void;
  /** Adds to {@linkcode Stream.pending}, and sends as much as the windows allow. */
  send(stream: Stream, bytes: Bytes): void;
  /** Sends as much as the windows allow, and the trailers after the whole body. */
  pump(stream: Stream): void;
}

/** An open stream. */
export class Stream {
  /** The parts of the body that wait for a window. */
  readonly pending: Bytes[] = [];
  /** The trailers, which wait for the body. */
  trailers: readonly Field[] | undefined;
  handler: StreamHandler | undefined;
  /** The time at which it was opened, on the clock of `performance.now()`. */
  readonly since = performance.now();
  /** The request is complete. */
  requestEnded = false;
  /** Whether the stream is closed, so that nothing is sent. */
  closed = false;
  /** The bytes that the client has sent since its window was last increased. */
  uncredited = 0;
  /** The bytes of the body that were received. */
  received = 0;

  readonly #port: StreamPort;

  constructor(
    port: StreamPort,
    readonly id: number,
    readonly headers: ReadonlyMap<string, string>,
    /** The bytes that may still be sent; negative if the client has reduced its windows. */
    public sendWindow: number,
  ) {
    this.#port = port;
  }

  /**
   * Begins the answer; with `end` it has no body. Like the other methods, it does nothing if the
   * stream is closed.
   */
  respond(fields: readonly Field[], end = false): void {
    if (!this.closed) this.#port.sendHeaders(this, fields, end);
  }

  /** Adds to the answer's body. */
  send(bytes: Bytes): void {
    if (!this.closed && bytes.length > 0) this.#port.send(this, bytes);
  }

  /** Ends the answer after the body. */
  finish(trailers: readonly Field[]): void {
    if (this.closed) return;
    this.trailers = trailers;
    this.#port.pump(this);
  }
}

/** Fields that concern a connection. HTTP/2 does not allow them (RFC 9113, 8.2.2). */
const FORBIDDEN = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"];

/** The fields with a colon that a request may have, each at most once. */
const PSEUDO = [":method", ":scheme", ":path", ":authority"];

/**
 * Checks the fields of a request (RFC 9113, 8.2 and 8.3), which must no longer change. If a name
 * comes twice, its values are joined.
 *
 * @returns `undefined` for a malformed request
 */
export function requestHeaders(
  fields: readonly Field[],
): ReadonlyMap<string, string> | undefined {
  let headers = checked.get(fields);
  if (headers === undefined) {
    headers = checkedHeaders(fields);
    if (headers !== undefined) checked.set(fields, headers);
  }
  return headers;
}

/** The fields of requests that were checked. `HpackDecoder` gives many requests the same list. */
const checked = new WeakMap<readonly Field[], ReadonlyMap<string, string>>();

function checkedHeaders(fields: readonly Field[]): ReadonlyMap<string, string> | undefined {
  const headers = new Map<string, string>();
  let isRegular = false;
  for (const [name, value] of fields) {
    const isPseudo = name.startsWith(":");
    isRegular ||= !isPseudo;
    if (isPseudo && (isRegular || !PSEUDO.includes(name) || headers.has(name))) return undefined;
    if (!isName(name, isPseudo) || !isValue(value) || FORBIDDEN.includes(name)) return undefined;
    if (name === "te" && value !== "trailers") return undefined;
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before},${value}`);
  }
  const isComplete = headers.get(":method") && headers.get(":scheme") && headers.get(":path");
  return isComplete ? headers : undefined;
}

function isName(name: string, isPseudo: boolean): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(isPseudo ? name.slice(1) : name);
}

const isValue = (value: string) => !/[\0\r\n]|^[ \t]|[ \t]$/.test(value);
