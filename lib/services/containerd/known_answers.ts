/**
 * The answers that are known, so that they need no lane: those to Stat, and those to Mounts of
 * drivers whose mounts stay the same (`SnapshotBackend.mountsStay`), which Prepare and View give
 * first; and in a collection of its own those to Usage, for a time.
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
export type Asked = "stat" | "mounts" | "usage";

/** A call whose answer may be kept. Every one is to be ended. */
export interface Question {
  /** @param age for how long it is kept, in milliseconds; without end if it is not given */
  readonly keep: (answer: Bytes, age?: number) => void;
  /** The call has ended; after it, nothing is kept. */
  readonly ended: () => void;
}

interface OpenQuestion {
  isOutdated: boolean;
}

interface Answer {
  readonly bytes: Bytes;
  /** When it is too old, by the clock. */
  readonly end: number;
}

/** The keys that a call changes an answer about, its own first. */
type Changed = readonly string[] | "all";

export class KnownAnswers {
  /** By question and key, the one that was kept first comes first. */
  readonly #answers = new Map<string, Answer>();
  #memory = 0;
  /** By keys: how many calls run that change their records. */
  readonly #changing = new Map<string, number>();
  /** Calls that run and may change any record. */
  #changingAll = 0;
  /** By keys: the questions without an answer. */
  readonly #open = new Map<string, Set<OpenQuestion>>();

  /**
   * @param changed tells the keys that a call changes
   * @param now the clock, in milliseconds
   */
  constructor(
    readonly changed: (call: SnapshotCall) => Changed = keysOf,
    readonly now: () => number = () => performance.now(),
  ) {}

  get(asked: Asked, key: string): Bytes | undefined {
    const name = nameOf(asked, key), answer = this.#answers.get(name);
    if (answer === undefined) return undefined;
    if (this.now() < answer.end) return answer.bytes;
    this.#drop(name);
    return undefined;
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
      keep: (bytes, age = Infinity) => {
        if (question.isOutdated) return;
        this.#keep(nameOf(asked, key), { bytes, end: this.now() + age });
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
    const keys = this.changed(call);
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
  #forget(keys: Changed): void {
    if (keys === "all") {
      this.#answers.clear();
      this.#memory = 0;
      for (const open of this.#open.values()) for (const one of open) one.isOutdated = true;
      return;
    }
    for (const key of keys) {
      this.#drop(nameOf("stat", key));
      this.#drop(nameOf("mounts", key));
      this.#drop(nameOf("usage", key));
      for (const one of this.#open.get(key) ?? []) one.isOutdated = true;
    }
  }

  #keep(name: string, answer: Answer): void {
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
function keysOf(call: SnapshotCall): Changed {
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

/** The keys of the snapshots whose space a call changes: a removal is no matter of others. */
export function keysOfUsage(call: SnapshotCall): readonly string[] {
  switch (call.method) {
    case "prepare":
    case "view":
    case "remove":
      return [call.key];
    case "commit":
      return [call.key, call.name];
    default:
      return [];
  }
}

const nameOf = (asked: Asked, key: string) => `${asked} ${key}`;

/** A character takes two bytes at most; the rest is for the objects. */
const memoryOf = (name: string, { bytes }: Answer) => 2 * name.length + bytes.length + 256;
