/**
 * A client of the service that uses only the protocols: gRPC's calls, and raw HTTP/2 for acts that
 * a client should not do. Windows have the largest size unless a case makes them small.
 */
import { assert } from "@std/assert";
import { HpackDecoder } from "../../lib/services/http2/hpack.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

/** Frame types (RFC 9113, 6). */
export const DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4;
export const PUSH_PROMISE = 5, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9;

export const END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8;

/** Error codes (RFC 9113, 7). */
export const NO_ERROR = 0, PROTOCOL_ERROR = 1, FLOW_CONTROL_ERROR = 3, STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6, REFUSED_STREAM = 7, CANCEL = 8, COMPRESSION_ERROR = 9;
export const ENHANCE_YOUR_CALM = 11;

export const PREFACE: Bytes = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** The largest window. */
const MAX_WINDOW = 2 ** 31 - 1;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Bytes;
}

/** The answer to a call. */
export interface Reply {
  /** The gRPC status; `undefined` if the stream was reset. */
  readonly status: number | undefined;
  readonly message: string;
  readonly messages: readonly Bytes[];
  readonly headers: ReadonlyMap<string, string>;
  /** The error code, if the stream was reset. */
  readonly reset?: number;
}

export function u32(value: number): number[] {
  return [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255];
}

export function frame(type: number, flags: number, stream: number, payload: ArrayLike<number>) {
  const { length } = payload;
  const bytes = new Uint8Array(9 + length);
  bytes.set([length >> 16, length >> 8 & 255, length & 255, type, flags, ...u32(stream)]);
  bytes.set(payload, 9);
  return bytes;
}

export function join(...parts: Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The whole frames that bytes begin with. */
export function* framesOf(bytes: Bytes): Generator<Frame, undefined> {
  for (let at = 0, end; at + 9 <= bytes.length; at = end) {
    const [high, middle, low, type, flags, ...id] = bytes.subarray(at, at + 9);
    end = at + 9 + (high << 16 | middle << 8 | low);
    if (end > bytes.length) return;
    const stream = (id[0] & 127) << 24 | id[1] << 16 | id[2] << 8 | id[3];
    yield { type, flags, stream, payload: bytes.slice(at + 9, end) };
  }
}

/** A header block of literals without an index (RFC 7541, 6.2.2). */
export function block(fields: readonly (readonly [string, string])[]): number[] {
  const string = (text: string) => {
    const bytes = [...new TextEncoder().encode(text)];
    if (bytes.length < 127) return [bytes.length, ...bytes];
    const length = [127];
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) length.push(rest & 127 | 128);
    return [...length, rest, ...bytes];
  };
  return fields.flatMap(([name, value]) => [0, ...string(name), ...string(value)]);
}

/** The fields of a gRPC request. */
export function requestFields(path: string): [string, string][] {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  ];
}

/** A message with its prefix. */
export function framed(message: ArrayLike<number>): number[] {
  return [0, ...u32(message.length), ...Array.from(message)];
}

/** A connection on which a case sends raw frames. */
export class RawClient implements Disposable {
  readonly #conn: Deno.UnixConn;
  #buffer: Bytes = new Uint8Array();

  private constructor(conn: Deno.UnixConn) {
    this.#conn = conn;
  }

  /** Connects and sends nothing. */
  static async connect(path: string): Promise<RawClient> {
    return new RawClient(await Deno.connect({ transport: "unix", path }));
  }

  /** Connects and sends the preface and settings. */
  static async greet(path: string, settings: readonly number[] = []): Promise<RawClient> {
    const client = await RawClient.connect(path);
    await client.send(PREFACE, frame(SETTINGS, 0, 0, settings));
    return client;
  }

  async send(...parts: Uint8Array[]): Promise<void> {
    let rest = parts.length === 1 ? parts[0] : join(...parts);
    while (rest.length > 0) rest = rest.subarray(await this.#conn.write(rest));
  }

  /** The next frame; `undefined` when the server has closed the connection. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const { value } = framesOf(this.#buffer).next();
      if (value !== undefined) {
        this.#buffer = this.#buffer.subarray(9 + value.payload.length);
        return value;
      }
      const chunk = new Uint8Array(64 << 10);
      const count = await this.#conn.read(chunk).catch(() => null);
      if (count === null) return undefined;
      const larger = new Uint8Array(this.#buffer.length + count);
      larger.set(this.#buffer);
      larger.set(chunk.subarray(0, count), this.#buffer.length);
      this.#buffer = larger;
    }
  }

  /** The next frame of a type; others are skipped. */
  async until(type: number): Promise<Frame> {
    for (let next = await this.next(); next !== undefined; next = await this.next()) {
      if (next.type === type) return next;
    }
    throw new Error(`the connection was closed without a frame of type ${type}`);
  }

  /** The code with which the server ends the connection. */
  async goneWith(): Promise<number> {
    const { payload } = await this.until(GOAWAY);
    while (await this.next() !== undefined);
    return payload[7];
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

/** A client that makes calls, many at a time. */
export class GrpcClient implements Disposable {
  readonly #raw: RawClient;
  readonly #calls = new Map<number, { reply: MutableReply; resolve: (reply: Reply) => void }>();
  readonly #decoder = new HpackDecoder();
  #next = 1;
  #body = new Map<number, number[]>();
  /**
   * Resolves with the code of GOAWAY, or with `undefined` if the connection was closed without one.
   */
  readonly gone: Promise<number | undefined>;

  private constructor(raw: RawClient) {
    this.#raw = raw;
    this.gone = this.#receive();
  }

  static async connect(path: string): Promise<GrpcClient> {
    const raw = await RawClient.greet(path, [0, 4, ...u32(MAX_WINDOW)]);
    await raw.send(frame(WINDOW_UPDATE, 0, 0, u32(MAX_WINDOW - 65535)));
    return new GrpcClient(raw);
  }

  /** Calls a method of the snapshots service. */
  call(method: string, request: ArrayLike<number>): Promise<Reply> {
    return this.request(`/containerd.services.snapshots.v1.Snapshots/${method}`, framed(request));
  }

  /** Sends a request with any body. */
  request(
    path: string,
    body: readonly number[],
    fields = requestFields(path),
  ): Promise<Reply> {
    return this.begin(fields, body).reply;
  }

  /** The same; also returns the stream's number, by which the call can be cancelled. */
  begin(
    fields: readonly (readonly [string, string])[],
    body: readonly number[],
  ): { readonly stream: number; readonly reply: Promise<Reply> } {
    const stream = this.#next;
    this.#next += 2;
    const reply = new Promise<Reply>((resolve) =>
      this.#calls.set(stream, {
        reply: { status: undefined, message: "", messages: [], headers: new Map() },
        resolve,
      })
    );
    const parts = [frame(HEADERS, END_HEADERS, stream, block(fields))];
    for (let at = 0; at < body.length || at === 0; at += 16384) {
      const isLast = at + 16384 >= body.length;
      parts.push(frame(DATA, isLast ? END_STREAM : 0, stream, body.slice(at, at + 16384)));
    }
    this.send(...parts);
    return { stream, reply };
  }

  /** Sends bytes after all earlier ones. */
  send(...parts: Uint8Array[]): void {
    this.#sent = this.#sent.then(() => this.#raw.send(...parts)).catch(() => {});
  }
  #sent: Promise<void> = Promise.resolve();

  cancel(stream: number): void {
    this.send(frame(RST_STREAM, 0, stream, u32(CANCEL)));
  }

  async #receive(): Promise<number | undefined> {
    let code: number | undefined;
    for (let next = await this.#raw.next(); next !== undefined; next = await this.#raw.next()) {
      if (next.type === GOAWAY) code = next.payload[7];
      else this.#onFrame(next);
    }
    for (const { reply, resolve } of this.#calls.values()) resolve(reply);
    return code;
  }

  #onFrame({ type, flags, stream, payload }: Frame): void {
    const call = this.#calls.get(stream);
    if (type === SETTINGS && flags === 0) this.send(frame(SETTINGS, ACK, 0, []));
    if (type === HEADERS) {
      assert(flags & END_HEADERS, "the server's header blocks fit a frame");
      const { fields } = this.#decoder.decode(payload, 1 << 20);
      const headers = new Map([...call?.reply.headers ?? [], ...fields]);
      if (call) call.reply.headers = headers;
    }
    if (type === DATA) {
      this.#body.set(stream, [...this.#body.get(stream) ?? [], ...payload]);
    }
    if (call === undefined) return;
    if (type === RST_STREAM) call.reply.reset = payload[3];
    if (type !== RST_STREAM && (type > HEADERS || (flags & END_STREAM) === 0)) return;
    const { reply } = call;
    reply.messages = split(this.#body.get(stream) ?? []);
    this.#body.delete(stream);
    if (reply.headers.has("grpc-status")) reply.status = Number(reply.headers.get("grpc-status"));
    reply.message = decodeURIComponent(reply.headers.get("grpc-message") ?? "");
    this.#calls.delete(stream);
    call.resolve(reply);
  }

  [Symbol.dispose](): void {
    this.#raw[Symbol.dispose]();
  }
}

type MutableReply = { -readonly [K in keyof Reply]: Reply[K] };

/** The messages of a body. */
function split(body: readonly number[]): Bytes[] {
  const bytes = Uint8Array.from(body), messages: Bytes[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = new DataView(bytes.buffer, at + 1).getUint32(0);
    messages.push(bytes.slice(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return messages;
}
