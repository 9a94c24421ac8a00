/**
 * The answers that are known, so that they need no lane: those to Stat, and those to Mounts of
 * drivers whose mounts stay the same (`SnapshotBackend.mountsStay`), which Prepare and View give
 * first.
 *
 * They are right by construction: the service holds its store, so a record changes by its own calls
 * alone. A call that changes a record takes the answers about it away before it begins, and an
 * answer is kept only if no such call ran at any time between the question and the answer.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { SnapshotCall } from "./messages.ts";

/** Memory for all answers and keys, and for one, in bytes. */
const MEMORY = 4 << 20, LARGEST = 16 << 10;

/** The questions whose answers are kept. */
export type Asked = "stat" | "mounts";

/** A call whose answer may be kept. Every one is to be ended. */
export interface Question {
  readonly keep: (answer: Bytes) => void;
  /** The call has ended; after it, nothing is kept. */
  readonly ended: () => void;
}

interface OpenQuestion {
  isOutdated: boolean;
}

export class KnownAnswers {
  /** By question and key, the one that was kept first comes first. */
  readonly #answers = new Map<string, Bytes>();
  #memory = 0;
  /** By keys: how many calls run that change their records. */
  readonly #changing = new Map<string, number>();
  /** Calls that run and may change any record. */
  #changingAll = 0;
  /** By keys: the questions without an answer. */
  readonly #open = new Map<string, Set<OpenQuestion>>();

  get(asked: Asked, key: string): Bytes | undefined {
    return this.#answers.get(nameOf(asked, key));
  }

  /** Is called before a key is asked about. */
  asking(asked: Asked, key: string): Question {
    return this.#ask(asked, key, 0);
  }

  /** @param own how many of the changes that run are the question's own */
  #ask(asked: Asked, key: string, own: number): Question {
    const others = (this.#changing.get(key) ?? 0) - own;
    const question = { isOutdated: others > 0 || this.#changingAll > 0 };
    const open = this.#open.get(key);
    if (open === undefined) this.#open.set(key, new Set([question]));
    else open.add(question);
    return {
      keep: (answer) => {
        if (!question.isOutdated) this.#keep(nameOf(asked, key), answer);
      },
      ended: () => {
        question.isOutdated = true;
        const open = this.#open.get(key);
        if (open?.delete(question) && open.size === 0) this.#open.delete(key);
      },
    };
  }

  /**
   * Is called before a call begins that may change records, and that is to be ended. Its answer is
   * kept as one to `asked`, if that is given.
   */
  changing(call: SnapshotCall, asked?: Asked): Question {
    const keys = keysOf(call);
    if (keys === "all") this.#changingAll++;
    else for (const key of keys) this.#changing.set(key, (this.#changing.get(key) ?? 0) + 1);
    this.#forget(keys);
    const [key] = keys;
    const question = asked === undefined ? NO_QUESTION : this.#ask(asked, key, 1);
    return {
      keep: question.keep,
      ended: () => {
        question.ended();
        if (keys === "all") this.#changingAll--;
        else for (const key of keys) this.#end(key);
      },
    };
  }

  #end(key: string): void {
    const left = this.#changing.get(key)! - 1;
    if (left === 0) this.#changing.delete(key);
    else this.#changing.set(key, left);
  }

  /** Takes the answers about some keys away, also those that are on the way. */
  #forget(keys: readonly string[] | "all"): void {
    if (keys === "all") {
      this.#answers.clear();
      this.#memory = 0;
      for (const open of this.#open.values()) for (const one of open) one.isOutdated = true;
      return;
    }
    for (const key of keys) {
      this.#drop(nameOf("stat", key));
      this.#drop(nameOf("mounts", key));
      for (const one of this.#open.get(key) ?? []) one.isOutdated = true;
    }
  }

  #keep(name: string, answer: Bytes): void {
    const memory = memoryOf(name, answer);
    if (memory > LARGEST) return;
    this.#drop(name);
    this.#answers.set(name, answer);
    this.#memory += memory;
    for (const [first] of this.#answers) {
      if (this.#memory <= MEMORY) return;
      this.#drop(first);
    }
  }

  #drop(name: string): void {
    const answer = this.#answers.get(name);
    if (answer === undefined) return;
    this.#memory -= memoryOf(name, answer);
    this.#answers.delete(name);
  }
}

const NO_QUESTION: Question = { keep: () => {}, ended: () => {} };

/** The keys of the records that a call changes, its own first. */
function keysOf(call: SnapshotCall): readonly string[] | "all" {
  switch (call.method) {
    case "prepare":
    case "view":
    case "update":
      return [call.key];
    case "commit":
      return [call.key, call.name];
    default: // Of damaged records, a removal changes those of children.
      return "all";
  }
}

const nameOf = (asked: Asked, key: string) => `${asked} ${key}`;

/** A character takes two bytes at most; the rest is for the objects. */
const memoryOf = (name: string, answer: Bytes) => 2 * name.length + answer.length + 256;
