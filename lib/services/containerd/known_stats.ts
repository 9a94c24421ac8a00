/**
 * The answers to Stat that are known, so that they need no lane.
 *
 * They are right by construction: the service holds its store, so a record changes by its own calls
 * alone. A call that changes a record takes its answer away before it begins, and an answer is kept
 * only if no such call ran at any time between the question and the answer.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { SnapshotCall } from "./messages.ts";

/** Memory for all answers and keys, and for one, in bytes. */
const MEMORY = 4 << 20, LARGEST = 16 << 10;

export class KnownStats {
  /** By keys, the one that was kept first comes first. */
  readonly #answers = new Map<string, Bytes>();
  #memory = 0;
  /** Calls that run and change records. */
  #changing = 0;
  /** The number of times that such a call began or ended. */
  #changes = 0;

  get(key: string): Bytes | undefined {
    return this.#answers.get(key);
  }

  /** Is called before a key is asked about; the result gets the answer. */
  asking(key: string): (answer: Bytes) => void {
    const changes = this.#changes;
    return (answer) => {
      if (this.#changing === 0 && this.#changes === changes) this.#keep(key, answer);
    };
  }

  /** Is called before a call begins that may change records; the result is called at its end. */
  changing(call: SnapshotCall): () => void {
    this.#changing++;
    this.#changes++;
    this.#forgetFor(call);
    return () => {
      this.#changing--;
      this.#changes++;
    };
  }

  #forgetFor(call: SnapshotCall): void {
    switch (call.method) {
      case "prepare":
      case "view":
      case "update":
        return this.#forget(call.key);
      case "commit":
        this.#forget(call.key);
        return this.#forget(call.name);
      default: // Of damaged records, a removal changes those of children.
        this.#answers.clear();
        this.#memory = 0;
    }
  }

  #keep(key: string, answer: Bytes): void {
    const memory = memoryOf(key, answer);
    if (memory > LARGEST) return;
    this.#forget(key);
    this.#answers.set(key, answer);
    this.#memory += memory;
    for (const [first] of this.#answers) {
      if (this.#memory <= MEMORY) return;
      this.#forget(first);
    }
  }

  #forget(key: string): void {
    const answer = this.#answers.get(key);
    if (answer === undefined) return;
    this.#memory -= memoryOf(key, answer);
    this.#answers.delete(key);
  }
}

/** A character takes two bytes at most; the rest is for the objects. */
const memoryOf = (key: string, answer: Bytes) => 2 * key.length + answer.length + 256;
