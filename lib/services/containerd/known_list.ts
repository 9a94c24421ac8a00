/**
 * Keeps the last list of all snapshots of a store, because engines often ask for it. If nothing has
 * changed since, the list is sent again. Otherwise only the changed snapshots are read and written;
 * the bytes of the others are copied from the kept list.
 *
 * The database says what has changed, so the changes of other lanes and processes are seen.
 *
 * @module
 */
import { OFFERED } from "../../images/records.ts";
import { withoutPrivate } from "../../images/offer.ts";
import type { Snapshots } from "../../snapshots/snapshots.ts";
import type { Bytes } from "../bytes.ts";
import { ListWriter } from "./messages.ts";

/**
 * The memory for a kept list in bytes, and the part of it that each snapshot takes beside its bytes
 * in the messages.
 */
const MEMORY = 2 << 20, PLACE_MEMORY = 160;

/** The part of a store that lists its snapshots. */
type Listing = Pick<Snapshots, "version" | "listed">;

/** The bytes of a snapshot in a kept list. */
interface Place {
  /** See `Listed`. */
  readonly updated: number;
  /** The number of the message. */
  readonly message: number;
  readonly start: number;
  readonly end: number;
}

/** A list of all snapshots. */
interface List {
  readonly messages: Bytes[];
  /** By layer. */
  readonly places: Map<string, Place>;
}

const emptyList = (): List => ({ messages: [], places: new Map() });

export class KnownList {
  #list = emptyList();
  /** The version of the store's records that the list has, or an earlier one. */
  #version: string | undefined;

  /** @param memory the most memory for the kept list, in bytes */
  constructor(readonly memory = MEMORY) {}

  /**
   * Lists all snapshots that the engine may see.
   *
   * @param emit gets each message, which it may change
   */
  emit(snapshots: Listing, emit: (message: Bytes) => void): void {
    const { version } = snapshots;
    if (version === this.#version) {
      for (const message of this.#list.messages) emit(message.slice());
      return;
    }
    const before = this.#list;
    // Nothing is kept of a list that fails.
    this.#list = emptyList();
    this.#version = undefined;
    const list = this.#write(snapshots, before, emit);
    if (list === undefined) return;
    this.#list = list;
    this.#version = version;
  }

  /** Returns the list, unless it is too large to be kept. */
  #write(snapshots: Listing, before: List, emit: (message: Bytes) => void): List | undefined {
    const list = emptyList(), writer = new ListWriter();
    let room = this.memory, message = 0;
    const finish = () => {
      const bytes = writer.finish();
      message++;
      room -= bytes.length;
      if (room >= 0) list.messages.push(bytes.slice());
      emit(bytes);
    };
    for (const { layer, updated, info } of snapshots.listed(OFFERED)) {
      const known = before.places.get(layer), start = writer.length;
      if (known?.updated === updated) {
        writer.copy(before.messages[known.message].subarray(known.start, known.end));
      } else writer.add(withoutPrivate(info()));
      room -= PLACE_MEMORY;
      if (room >= 0) list.places.set(layer, { updated, message, start, end: writer.length });
      if (writer.isFull) finish();
    }
    if (writer.length > 0) finish();
    return room >= 0 ? list : undefined;
  }
}
