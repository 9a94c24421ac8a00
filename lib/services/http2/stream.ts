/**
 * One exchange of an HTTP/2 connection, as the server sees it: a request that comes in, an answer
 * that goes out as fast as the client's windows allow.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Field } from "./hpack.ts";

/** Gets the input of a stream, in this order; nothing after `reset`. */
export interface StreamHandler {
  /** A part of the request's body. The bytes are overwritten when this returns. */
  data(bytes: Bytes): void;
  /** The request is complete. */
  end(): void;
  /** The client gave the exchange up, or is gone. */
  reset(): void;
}

/** The part of a connection that a stream needs. */
export interface StreamPort {
  sendHeaders(stream: Stream, fields: readonly Field[], end: boolean): void;
  /** Adds to {@linkcode Stream.pending}, and sends as much as the windows allow. */
  send(stream: Stream, bytes: Bytes): void;
  /** Sends as much as the windows allow, and the trailers behind all of it. */
  pump(stream: Stream): void;
}

/** An open stream. */
export class Stream {
  /** The body's parts that wait for a window. */
  readonly pending: Bytes[] = [];
  /** The last fields, which wait for the body. */
  trailers: readonly Field[] | undefined;
  handler: StreamHandler | undefined;
  /** When it was opened, by `performance.now()`. */
  readonly since = performance.now();
  /** The request is complete. */
  requestEnded = false;
  /** Nothing more is sent. */
  closed = false;
  /** The bytes that the client sent and that its window was not increased by yet. */
  uncredited = 0;
  /** Of the body, in bytes. */
  received = 0;

  readonly #port: StreamPort;

  constructor(
    port: StreamPort,
    readonly id: number,
    readonly headers: ReadonlyMap<string, string>,
    /** The bytes that may still be sent; negative if the client made its windows smaller. */
    public sendWindow: number,
  ) {
    this.#port = port;
  }

  /**
   * Begins the answer; with `end` it has no body. Does nothing on a closed stream, like the others.
   */
  respond(fields: readonly Field[], end = false): void {
    if (!this.closed) this.#port.sendHeaders(this, fields, end);
  }

  /** Adds to the answer's body. */
  send(bytes: Bytes): void {
    if (!this.closed && bytes.length > 0) this.#port.send(this, bytes);
  }

  /** Ends the answer, behind the body. */
  finish(trailers: readonly Field[]): void {
    if (this.closed) return;
    this.trailers = trailers;
    this.#port.pump(this);
  }
}

/** Fields that belong to a connection, which HTTP/2 does not allow (RFC 9113, 8.2.2). */
const FORBIDDEN = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"];

/** Fields that begin with a colon, which a request has, each once. */
const PSEUDO = [":method", ":scheme", ":path", ":authority"];

/**
 * Checks the fields of a request (RFC 9113, 8.2 and 8.3); of a name that comes twice the values are
 * joined.
 *
 * @returns `undefined` for a malformed request
 */
export function requestHeaders(
  fields: readonly Field[],
): ReadonlyMap<string, string> | undefined {
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
