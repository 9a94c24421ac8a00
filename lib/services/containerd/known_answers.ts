/**
 * Keeps answers, so that repeated questions need no lane: the answers to Stat and, for drivers
 * whose mounts stay the same (`SnapshotBackend.mountsStay`), those to Mounts, which Prepare and
 * View return as well. A second collection keeps the answers to Usage for a time.
 *
 * The answers are always right: the service has exclusive use of its store, so only its own calls
 * change records. A call that changes a record removes the answers about it before it begins, and
 * an answer is kept only if no such call ran between the question and the answer.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { SnapshotCall } from "./messages.ts";

/** The memory for all answers and keys, and for one answer with its key, in bytes. */
const MEMORY = 4 << 20, LARGEST = 16 << 10;

/** The questions whose answers are kept. */
export type Asked = "stat" | "mounts" | "usage";

/** A call whose answer may be kept. The caller must end each one. */
export interface Question {
  /** @param age the time for which the answer is kept, in milliseconds; unlimited by default */
  readonly keep: (answer: Bytes, age?: number) => void;
  /** Called when the call has ended. Afterwards no answer is kept. */
  readonly ended: () => void;
}

interface OpenQuestion {
  isOutdated: boolean;
}

interface Answer {
  readonly bytes: Bytes;
  /** The time from which it is too old, on the collection's clock. */
  readonly end: number;
}

/** The keys whose answers a call changes, its own key first. */
type Changed = readonly string[] | "all";

export class KnownAnswers {
  /** The answers by question and key, in the order in which they were kept. */
  readonly #answers = new Map<string, Answer>();
  #memory = 0;
  /** By key: the number of running calls that change its record. */
  readonly #changing = new Map<string, number>();
  /** The number of running calls that may change any record. */
  #changingAll = 0;
  /** By key: the questions that have no answer yet. */
  readonly #open = new Map<string, Set<OpenQuestion>>();

  /**
   * @param changed returns the keys that a call changes
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

  /** To be called before a question about a key is asked. */
  asking(asked: Asked, key: string): Question {
    return this.#ask(asked, key, 0);
  }

  /** @param own the number of running changes that are the question's own */
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
   * To be called before a call begins that may change records. The caller must end the result. If
   * `asked` is given, the call's answer is kept as an answer to that question.
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

  /** Removes the answers about some keys, including those that are not given yet. */
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
    default: // If records are damaged, a removal changes those of children.
      return "all";
  }
}

/**
 * The keys of the snapshots whose space a call changes. A removal does not change that of others.
 */
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

/**
 * The memory of an answer: at most two bytes for each character, the bytes, and room for the
 * objects.
 */
const memoryOf = (name: string, { bytes }: Answer) => 2 * name.length + bytes.length + 256;
