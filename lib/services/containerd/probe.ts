/**
 * Asks a service for containerd whether it answers.
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

/** How long an answer is waited for, in milliseconds. */
const PATIENCE = 2000;

/** What was found at a service's address. */
export type Probed =
  | "answers"
  /** There is no socket. */
  | "missing"
  /** Nobody listens: a service that was killed left the socket. */
  | "left over"
  /** This process must not connect to it. */
  | "denied"
  /** It was connected to, and there was no answer in time, or none of this protocol. */
  | "silent";

/** A call that changes nothing and needs the store: a look-up of a snapshot that is missing. */
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

/** Makes a call of a service. @param name the service's; a call with another is answered, too */
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
    return "silent"; // It closed the connection, or the time is over.
  } finally {
    clearTimeout(timer);
    try {
      conn.close();
    } catch {
      // It is closed already.
    }
  }
}

/** Whether the fields of an answer come. */
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
