/**
 * The changes that an apply makes in a layer, reported entry by entry as they happen.
 *
 * @module
 */
import type { EntryName } from "../../../ffi/entry_name.ts";
import type { Entry } from "../read/entry.ts";

/** Gets every change that an apply makes, in order. Paths are real: no link lies on them. */
export interface EntryLog {
  /** An entry was made, or is being made by the Worker, with these host ids. */
  made(directory: string, entry: Entry, uid: number, gid: number): void;
  /** A whiteout came: a directory that it hides is left without the attributes of its entry. */
  hidden(): void;
  /** The tar had so many bytes, and all of it is applied. */
  ended(length: number): void;
  /** A file of the layers below may have been copied into the layer. */
  copied(directory: string, name: EntryName): void;
}
