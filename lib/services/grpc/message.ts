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

/** The size of the first buffer of a message that comes in parts, in bytes. */
const FIRST_ROOM = 512;

const EMPTY: Bytes = new Uint8Array();

/** Collects the only message of a unary request. */
export class RequestReader implements Disposable {
  /** The bytes of the prefix so far. */
  #prefix = 0;
  /** The length that the prefix contains, as far as it was received. */
  #length = 0;
  #message = EMPTY;
  #received = 0;
  /** The bytes taken from the budget. */
  #taken = 0;

  constructor(private readonly budget: Budget) {}

  /**
   * Copies a part of the body.
   *
   * @throws {GrpcError} as soon as it is clear that the request cannot be answered
   */
  push(bytes: Bytes): void {
    let at = 0;
    while (this.#prefix < PREFIX && at < bytes.length) this.#readPrefix(bytes[at++]);
    const rest = bytes.length - at, received = this.#received + rest;
    if (rest === 0) return;
    if (received > this.#length) {
      throw new GrpcError("INTERNAL", "more than one message in a request of one");
    }
    this.#reserve(received);
    this.#message.set(at === 0 ? bytes : bytes.subarray(at), this.#received);
    this.#received = received;
  }

  /** Reads the next byte of the prefix. */
  #readPrefix(byte: number): void {
    if (this.#prefix++ > 0) this.#length = this.#length * 256 + byte;
    else if (byte !== 0) throw new GrpcError("UNIMPLEMENTED", NOT_COMPRESSED);
    if (this.#prefix < PREFIX || this.#length <= MAX_REQUEST) return;
    throw new GrpcError(
      "RESOURCE_EXHAUSTED",
      `the request has ${this.#length} bytes, ${MAX_REQUEST} are allowed`,
    );
  }

  /**
   * Enlarges the buffer to twice the given size, up to the message's length. A message that comes
   * at once gets a buffer of its length.
   */
  #reserve(size: number): void {
    if (size <= this.#message.length) return;
    const room = Math.min(this.#length, Math.max(FIRST_ROOM, 2 * size));
    const more = Math.max(0, room - FREE) - this.#taken;
    if (more > 0 && !this.budget.take(more)) {
      throw new GrpcError("RESOURCE_EXHAUSTED", "too many requests are being received; try again");
    }
    this.#taken += Math.max(0, more);
    const larger = new Uint8Array(room);
    if (this.#received > 0) larger.set(this.#message.subarray(0, this.#received));
    this.#message = larger;
  }

  /** The message. @throws {GrpcError} if the message is incomplete */
  message(): Bytes {
    if (this.#prefix < PREFIX || this.#received < this.#length) {
      throw new GrpcError("INTERNAL", "the request is cut short");
    }
    return this.#message;
  }

  /** Returns the bytes taken from the budget. May be called twice. */
  [Symbol.dispose](): void {
    if (this.#taken > 0) this.budget.give(this.#taken);
    this.#taken = 0;
    this.#message = EMPTY;
  }
}

/** A message with its prefix. */
export function framed(message: Uint8Array): Bytes {
  const bytes = new Uint8Array(PREFIX + message.length);
  const { length } = message;
  bytes[1] = length >> 24;
  bytes[2] = length >> 16;
  bytes[3] = length >> 8;
  bytes[4] = length;
  bytes.set(message, PREFIX);
  return bytes;
}
