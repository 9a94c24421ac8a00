/**
 * gRPC's messages in the body of a request or an answer. Each is a flag, a length and the message's
 * bytes.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Budget } from "./budget.ts";
import { GrpcError, NOT_COMPRESSED } from "./status.ts";

/**
 * The length of a message's prefix in bytes: one byte that is 1 if the message is compressed, and
 * four of its length (big endian).
 */
const PREFIX = 5;

/**
 * The longest request in bytes, which is containerd's limit. Its requests have a few hundred bytes.
 */
export const MAX_REQUEST = 16 << 20;

/**
 * The bytes that every request may take outside the budget, so that a short request is not refused
 * because others are large.
 */
const FREE = 16 << 10;

/** The size of the first buffer, in bytes, before the message's length is known. */
const FIRST_ROOM = 512;

/** Collects the only message of a unary request. */
export class RequestReader implements Disposable {
  #buffer: Bytes = new Uint8Array();
  #received = 0;
  #length: number | undefined;
  /** The bytes taken from the budget. */
  #taken = 0;

  constructor(private readonly budget: Budget) {}

  /**
   * Copies a part of the body.
   *
   * @throws {GrpcError} as soon as it is clear that the request cannot be answered
   */
  push(bytes: Bytes): void {
    for (let rest = bytes; rest.length > 0;) {
      // Until the prefix is complete, only the prefix is read: it contains the message's length.
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

  /** Enlarges the buffer to twice the given size, up to the message's length. */
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

  /** The message. @throws {GrpcError} if the message is incomplete */
  message(): Bytes {
    if (this.#length === undefined || this.#received < PREFIX + this.#length) {
      throw new GrpcError("INTERNAL", "the request is cut short");
    }
    return this.#buffer.subarray(PREFIX, PREFIX + this.#length);
  }

  /** Returns the bytes taken from the budget. May be called twice. */
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
