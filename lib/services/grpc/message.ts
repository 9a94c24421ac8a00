/**
 * gRPC's messages in the body of a request or an answer: a flag, a length, the message.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Budget } from "./budget.ts";
import { GrpcError, NOT_COMPRESSED } from "./status.ts";

/** A byte that is 1 if the message is compressed, then its length (big endian). */
const PREFIX = 5;

/** The longest request, in bytes: containerd's limit. Its requests have a few hundred. */
export const MAX_REQUEST = 16 << 20;

/** The bytes that every request may take, so that none is refused because others are large. */
const FREE = 16 << 10;

/** Room that is made for a message of unknown length, in bytes. */
const FIRST_ROOM = 512;

/** Gathers the one message of a unary request. */
export class RequestReader implements Disposable {
  #buffer: Bytes = new Uint8Array();
  #received = 0;
  #length: number | undefined;
  /** Of the budget, in bytes. */
  #taken = 0;

  constructor(private readonly budget: Budget) {}

  /**
   * Adds a part of the body, of which a copy is kept.
   *
   * @throws {GrpcError} as soon as it is clear that the request cannot be answered
   */
  push(bytes: Bytes): void {
    for (let rest = bytes; rest.length > 0;) {
      // Of the first bytes only the prefix, which holds the length of the message.
      const wanted = this.#length ?? 0;
      const part = rest.subarray(0, PREFIX + wanted - this.#received);
      if (part.length === 0) {
        throw new GrpcError("INTERNAL", "more than one message in a request of one");
      }
      this.#reserve(this.#received + part.length);
      this.#buffer.set(part, this.#received);
      this.#received += part.length;
      rest = rest.subarray(part.length);
      if (this.#length === undefined && this.#received === PREFIX) this.#readPrefix();
    }
  }

  #readPrefix(): void {
    if (this.#buffer[0] !== 0) throw new GrpcError("UNIMPLEMENTED", NOT_COMPRESSED);
    this.#length = new DataView(this.#buffer.buffer).getUint32(1);
    if (this.#length <= MAX_REQUEST) return;
    throw new GrpcError(
      "RESOURCE_EXHAUSTED",
      `the request has ${this.#length} bytes, ${MAX_REQUEST} are allowed`,
    );
  }

  /** Makes room for the bytes received and as many again, up to the length of the message. */
  #reserve(size: number): void {
    if (size <= this.#buffer.length) return;
    const most = PREFIX + (this.#length ?? FIRST_ROOM);
    const room = Math.min(most, Math.max(FIRST_ROOM, 2 * size));
    const more = Math.max(0, room - FREE) - this.#taken;
    if (more > 0 && !this.budget.take(more)) {
      throw new GrpcError("RESOURCE_EXHAUSTED", "too many requests are being received; try again");
    }
    this.#taken += Math.max(0, more);
    const larger = new Uint8Array(room);
    larger.set(this.#buffer.subarray(0, this.#received));
    this.#buffer = larger;
  }

  /** The message. @throws {GrpcError} if it is cut short */
  message(): Bytes {
    if (this.#length === undefined || this.#received < PREFIX + this.#length) {
      throw new GrpcError("INTERNAL", "the request is cut short");
    }
    return this.#buffer.subarray(PREFIX, PREFIX + this.#length);
  }

  /** Returns its share of the budget. May be called twice. */
  [Symbol.dispose](): void {
    this.budget.give(this.#taken);
    this.#taken = 0;
    this.#buffer = new Uint8Array();
  }
}

/** A message with its prefix. */
export function framed(message: Uint8Array): Bytes {
  const bytes = new Uint8Array(PREFIX + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, PREFIX);
  return bytes;
}
