/**
 * The memory that a thread shares with the Worker that reads for it: how it begins and ends, and one
 * text that the Worker leaves.
 *
 * @module
 */
import { SharedText } from "./shared_text.ts";
import { Control, CONTROL_BYTES } from "./worker_control.ts";

/** Room for the text, in bytes. */
const TEXT_BYTES = 4096;

/** A Worker starts in about 10 ms; one that has not in this time (in ms) never will. */
export const START_TIMEOUT = 30_000;

export class WorkerMemory {
  readonly control: Control;
  readonly text: SharedText;

  constructor(readonly buffer = new SharedArrayBuffer(CONTROL_BYTES + TEXT_BYTES)) {
    this.control = new Control(buffer);
    this.text = new SharedText(buffer, CONTROL_BYTES, TEXT_BYTES);
  }
}

/** Characters of a reason at most: there is room for them in any script. */
const MOST_OF_A_REASON = 500;

/** The message of an error, as far as there is room for it. */
export const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, MOST_OF_A_REASON);
