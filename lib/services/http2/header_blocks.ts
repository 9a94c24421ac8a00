/**
 * The header blocks of a connection. Each comes in a HEADERS frame and, if it is long, in
 * CONTINUATION frames directly after it, and is decoded when it is complete.
 *
 * @module
 */
import { type Bytes, joined } from "../bytes.ts";
import {
  check,
  ConnectionError,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  type Frame,
  PRIORITIZED,
  unpadded,
} from "./frames.ts";
import { type HeaderList, HpackDecoder, HpackError } from "./hpack.ts";
import { LIMITS } from "./limits.ts";

/** A complete header block. */
export interface HeaderBlock extends HeaderList {
  readonly stream: number;
  /** Whether it ends the stream's request. */
  readonly end: boolean;
}

/** An incomplete header block. */
interface Begun {
  readonly stream: number;
  readonly end: boolean;
  readonly since: number;
  readonly parts: Bytes[];
  size: number;
}

/** Joins the blocks of one connection. */
export class HeaderBlocks {
  readonly #decoder = new HpackDecoder();
  #begun: Begun | undefined;

  /**
   * The time at which the incomplete block began, on the clock of `performance.now()`; `undefined`
   * if there is none.
   */
  get since(): number | undefined {
    return this.#begun?.since;
  }

  /** @throws {ConnectionError} if a block is incomplete and another frame comes */
  checkTurn({ type }: Frame): void {
    if (this.#begun === undefined || type === CONTINUATION) return;
    throw new ConnectionError("PROTOCOL_ERROR", "a frame inside a header block");
  }

  /** Takes a HEADERS frame. Returns its block if it is complete. @throws {ConnectionError} */
  begin(frame: Frame): HeaderBlock | undefined {
    const { stream, flags } = frame;
    check(stream % 2 === 1, "PROTOCOL_ERROR", `HEADERS of stream ${stream}`);
    let part = unpadded(frame);
    if (flags & PRIORITIZED) {
      check(part.length >= 5, "FRAME_SIZE_ERROR", "HEADERS");
      part = part.subarray(5);
    }
    const end = (flags & END_STREAM) !== 0;
    this.#begun = { stream, end, since: performance.now(), parts: [], size: 0 };
    return this.#add(this.#begun, part, flags);
  }

  /** The same for a CONTINUATION frame. */
  continue({ stream, flags, payload }: Frame): HeaderBlock | undefined {
    const begun = this.#begun;
    if (begun?.stream !== stream) {
      throw new ConnectionError("PROTOCOL_ERROR", "CONTINUATION of no header block");
    }
    const isFlood = begun.parts.length > LIMITS.continuations;
    check(!isFlood, "ENHANCE_YOUR_CALM", "too many: CONTINUATION");
    return this.#add(begun, payload, flags);
  }

  #add(begun: Begun, part: Bytes, flags: number): HeaderBlock | undefined {
    begun.size += part.length;
    const { parts, size, stream, end } = begun;
    check(size <= LIMITS.headerBlock, "ENHANCE_YOUR_CALM", "the header block is too long");
    if ((flags & END_HEADERS) === 0) {
      parts.push(part.slice());
      return undefined;
    }
    this.#begun = undefined;
    const whole = parts.length === 0 ? part : joined([...parts, part]);
    return { stream, end, ...this.#decode(whole) };
  }

  /**
   * Decodes a block. Even a block that is not used must be decoded, because it may change the table
   * that all blocks share.
   */
  #decode(block: Bytes): HeaderList {
    try {
      return this.#decoder.decode(block, LIMITS.headerList);
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      throw new ConnectionError("COMPRESSION_ERROR", error.message);
    }
  }
}
