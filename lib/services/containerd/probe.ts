/**
 * Finds out whether a service for containerd answers.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import { framed } from "../grpc/message.ts";
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  FRAME_HEADER,
  HEADERS,
  parseFrame,
  PREFACE,
  settingsFrame,
} from "../http2/frames.ts";
import { encodeFields } from "../http2/hpack.ts";
import { MessageWriter } from "../protobuf.ts";

/** The longest wait for an answer, in milliseconds. */
const PATIENCE = 2000;

/** The state of a service's address. */
export type Probed =
  | "answers"
  /** There is no socket. */
  | "missing"
  /** No program listens: a killed service left the socket. */
  | "left over"
  /** This process may not connect to the socket. */
  | "denied"
  /** There was a connection, but no answer in time, or no answer in this protocol. */
  | "silent";

/** A call that needs the store and changes nothing: a Stat of a snapshot that does not exist. */
function request(name: string): readonly Uint8Array[] {
  const fields = encodeFields([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/containerd.services.snapshots.v1.Snapshots/Stat"],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  ]);
  const message = new MessageWriter().string(1, name).string(2, "a key that nobody has").finish();
  return [
    PREFACE,
    settingsFrame([]),
    frame(HEADERS, END_HEADERS, 1, fields),
    frame(DATA, END_STREAM, 1, framed(message)),
  ];
}

/**
 * Calls a service. @param name the service's name; a service answers a call with another name, too
 */
export async function probe(address: string, name: string): Promise<Probed> {
  let conn: Deno.Conn;
  try {
    conn = await Deno.connect({ transport: "unix", path: address });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "missing";
    if (error instanceof Deno.errors.PermissionDenied) return "denied";
    return error instanceof Deno.errors.ConnectionRefused ? "left over" : "silent";
  }
  const timer = setTimeout(() => conn.close(), PATIENCE);
  try {
    for (const part of request(name)) await conn.write(part);
    return await hearsAnswer(conn) ? "answers" : "silent";
  } catch {
    return "silent"; // The service closed the connection, or the time is over.
  } finally {
    clearTimeout(timer);
    try {
      conn.close();
    } catch {
      // It is already closed.
    }
  }
}

/** Waits for the header fields of an answer; returns whether they came. */
async function hearsAnswer(conn: Deno.Conn): Promise<boolean> {
  const buffer: Bytes = new Uint8Array(64 << 10);
  let filled = 0;
  for (;;) {
    const count = await conn.read(buffer.subarray(filled));
    if (count === null || count === 0) return false;
    filled += count;
    let at = 0;
    const bytes = buffer.subarray(0, filled);
    for (let next = parseFrame(bytes, at); next !== undefined; next = parseFrame(bytes, at)) {
      if (next.type === HEADERS && next.stream === 1) return true;
      at += FRAME_HEADER + next.payload.length;
    }
    buffer.copyWithin(0, at, filled);
    filled -= at;
  }
}
