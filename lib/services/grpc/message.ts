/**
 * gRPC's messages in the body of a request or an answer: a flag, a length, the message.
 *
 * @module
 */
import { type Bytes, joined } from "../bytes.ts";
import { GrpcError } from "./status.ts";

/** A byte that says whether the message is compressed, then its length (big endian). */
const PREFIX = 5;

/** The longest request, in bytes. containerd's have a few hundred. */
export const MAX_REQUEST = 1 << 20;

/** Memory for the requests that are being received, of all clients together. */
export class Budget {
  #left: number;

  /** @param bytes in all */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Takes an amount; false if there is less. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** Gathers the one message of a unary request. */
export class RequestReader implements Disposable {
  readonly #parts: Bytes[] = [];
  #received = 0;
  #length: number | undefined;

  constructor(private readonly budget: Budget) {}

  /**
   * Adds a part of the body, of which a copy is kept.
   *
   * @throws {GrpcError} as soon as it is clear that the request cannot be answered
   */
  push(bytes: Bytes): void {
    const isHuge = this.#received + bytes.length > PREFIX + MAX_REQUEST;
    if (isHuge) throw tooLong(this.#length ?? this.#received + bytes.length);
    if (!this.budget.take(bytes.length)) {
      throw new GrpcError("RESOURCE_EXHAUSTED", "too many requests are being received; try again");
    }
    this.#parts.push(bytes.slice());
    this.#received += bytes.length;
    if (this.#length === undefined && this.#received >= PREFIX) this.#readPrefix();
    if (this.#length !== undefined && this.#received > PREFIX + this.#length) {
      throw new GrpcError("INTERNAL", "more than one message in a request of one");
    }
  }

  #readPrefix(): void {
    const whole = this.#whole();
    if (whole[0] !== 0) {
      throw new GrpcError("UNIMPLEMENTED", "the request is compressed, which is not supported");
    }
    this.#length = new DataView(whole.buffer, whole.byteOffset).getUint32(1);
    if (this.#length > MAX_REQUEST) throw tooLong(this.#length);
  }

  /** The message. @throws {GrpcError} if it is cut short */
  message(): Bytes {
    if (this.#length === undefined || this.#received < PREFIX + this.#length) {
      throw new GrpcError("INTERNAL", "the request is cut short");
    }
    return this.#whole().subarray(PREFIX);
  }

  #whole(): Bytes {
    if (this.#parts.length === 1) return this.#parts[0];
    const whole = joined(this.#parts);
    this.#parts.splice(0, Infinity, whole);
    return whole;
  }

  /** Gives back what it took of the budget. May be called twice. */
  [Symbol.dispose](): void {
    this.budget.give(this.#received);
    this.#received = 0;
    this.#parts.length = 0;
  }
}

function tooLong(length: number): GrpcError {
  return new GrpcError(
    "RESOURCE_EXHAUSTED",
    `the request has ${length} bytes, ${MAX_REQUEST} are allowed`,
  );
}

/** A message with its prefix. */
export function framed(message: Uint8Array): Bytes {
  const bytes = new Uint8Array(PREFIX + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, PREFIX);
  return bytes;
}
