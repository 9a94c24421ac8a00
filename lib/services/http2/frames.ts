/**
 * The frames of HTTP/2 (RFC 9113, sections 4 and 6) as bytes.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";

/** The first bytes that a client sends. */
export const PREFACE: Bytes = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** The length of a frame's header in bytes. */
export const FRAME_HEADER = 9;

/**
 * The longest payload of a frame in bytes, unless the receiver allows more. This server does not.
 */
export const MAX_PAYLOAD = 16384;

/** Frame types. */
export const DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4;
export const PUSH_PROMISE = 5, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9;

/** Flags. The type of a frame decides which of them it can have. */
export const ACK = 0x1, END_STREAM = 0x1, END_HEADERS = 0x4, PADDED = 0x8, PRIORITIZED = 0x20;

/** Settings. */
export const ENABLE_PUSH = 2, MAX_CONCURRENT_STREAMS = 3, INITIAL_WINDOW_SIZE = 4;
export const MAX_FRAME_SIZE = 5, MAX_HEADER_LIST_SIZE = 6;

/** The initial windows of a stream and of the connection, in bytes. */
export const DEFAULT_WINDOW = 65535;

/** The largest window. */
export const MAX_WINDOW = 2 ** 31 - 1;

/** The largest number of a stream. */
export const MAX_STREAM = 2 ** 31 - 1;

/** Error codes (RFC 9113, 7). */
export const ERROR = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const;

export type ErrorName = keyof typeof ERROR;

/** An error after which the connection must be closed. */
export class ConnectionError extends Error {
  constructor(readonly code: ErrorName, message: string) {
    super(message);
  }
}

/** @throws {ConnectionError} unless the condition holds */
export function check(condition: boolean, code: ErrorName, message: string): void {
  if (!condition) throw new ConnectionError(code, message);
}

/** A received frame. The next read overwrites the payload. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** 0 for the connection itself. */
  readonly stream: number;
  readonly payload: Bytes;
}

/**
 * The frame that begins at `at`; `undefined` if it is incomplete.
 *
 * @throws {ConnectionError} if it is longer than is allowed
 */
export function parseFrame(bytes: Bytes, at: number): Frame | undefined {
  if (bytes.length - at < FRAME_HEADER) return undefined;
  const length = bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2];
  if (length > MAX_PAYLOAD) {
    throw new ConnectionError("FRAME_SIZE_ERROR", `a frame of ${length} bytes`);
  }
  const start = at + FRAME_HEADER;
  if (bytes.length - start < length) return undefined;
  return {
    type: bytes[at + 3],
    flags: bytes[at + 4],
    stream: readU32(bytes, at + 5) & 0x7fffffff,
    payload: bytes.subarray(start, start + length),
  };
}

/** A whole frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Bytes {
  const { length } = payload, bytes = new Uint8Array(FRAME_HEADER + length);
  bytes[0] = length >> 16;
  bytes[1] = length >> 8;
  bytes[2] = length;
  bytes[3] = type;
  bytes[4] = flags;
  bytes[5] = stream >> 24;
  bytes[6] = stream >> 16;
  bytes[7] = stream >> 8;
  bytes[8] = stream;
  bytes.set(payload, FRAME_HEADER);
  return bytes;
}

/** A SETTINGS frame. */
export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Bytes {
  return frame(
    SETTINGS,
    0,
    0,
    Uint8Array.from(settings.flatMap(([id, value]) => [id >> 8, id, ...u32(value)])),
  );
}

/** A RST_STREAM frame. */
export const resetFrame = (stream: number, code: ErrorName): Bytes =>
  frame(RST_STREAM, 0, stream, u32(ERROR[code]));

/** A WINDOW_UPDATE frame. */
export const windowFrame = (stream: number, increment: number): Bytes =>
  frame(WINDOW_UPDATE, 0, stream, u32(increment));

/** A GOAWAY frame. @param last the last stream that was or will be processed */
export const goAwayFrame = (last: number, code: ErrorName, reason = ""): Bytes =>
  frame(
    GOAWAY,
    0,
    0,
    Uint8Array.from([...u32(last), ...u32(ERROR[code]), ...new TextEncoder().encode(reason)]),
  );

/**
 * The payload without its padding.
 *
 * @throws {ConnectionError} if the padding is longer than the payload
 */
export function unpadded({ flags, payload }: Frame): Bytes {
  if ((flags & PADDED) === 0) return payload;
  const end = payload.length - payload[0];
  if (payload.length === 0 || end < 1) throw new ConnectionError("PROTOCOL_ERROR", "the padding");
  return payload.subarray(1, end);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]) >>> 0;
}

function u32(value: number): Bytes {
  return Uint8Array.of(value >> 24, value >> 16, value >> 8, value);
}
