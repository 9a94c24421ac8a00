/**
 * The record of a migration in its target: which members were begun, and which are done.
 *
 * ```text
 * <home>/.veneer/migrated      lines of JSON, only ever appended to
 * {"run": boot, "from": home}  a command begins, in a boot of the machine, with that source
 * {"begin": id}                a member is about to be made
 * {"begin": id, "as": mark}    it is made, and not whole
 * {"done": id, "as": mark}     it is whole; the mark tells it from a later one of the same id
 * {"synced": true}             all members that are done are on disk
 * ```
 *
 * A member that was begun and is not done is half made. One that is done in a boot before this one,
 * and was not synced, may have lost content in a power failure. Both are made again.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import {
  close,
  fdatasync,
  O_APPEND,
  O_CREAT,
  O_RDWR,
  readToEnd,
  syncfs,
  writeAll,
} from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { readSystemFile } from "../base/system_files.ts";
import type { Warn } from "../base/warn.ts";
import type { Home } from "../store/home.ts";
import { type ConfinedPath, open } from "../tree/confined.ts";
import { openToSync } from "./write_behind.ts";

const NAME = "migrated";

/** A line, once it is parsed. */
type Line =
  | { readonly run: string; readonly from: string }
  | { readonly begin: string; readonly as?: string }
  | { readonly done: string; readonly as: string }
  | { readonly synced: true };

/** What is known of a member of the target. */
export type Known =
  | {
    readonly state: "done";
    /** The home that it came from. */
    readonly from: string;
    readonly mark: string;
    /** Whether a power failure may have taken content away since. */
    readonly isDoubtful: boolean;
  }
  | {
    readonly state: "begun";
    /** `undefined` if it may not even be there. */
    readonly mark: string | undefined;
  };

/** The record of one target, which the caller has locked. */
export class DoneLog implements Disposable {
  readonly #path: ConfinedPath;
  readonly #fd: number;
  /** The home, opened before anything is written: so the sync tells of all writes that failed. */
  readonly #directory: number;
  readonly #opened: DisposableStack;
  readonly #known = new Map<string, Known>();
  #from = "";

  /** Opens the record, making it if it is missing. @param warn gets a line if some is damaged */
  constructor(readonly home: Home, warn: Warn) {
    this.#path = home.own(NAME);
    using opened = new DisposableStack();
    this.#fd = opened.adopt(open(this.#path, O_RDWR | O_CREAT | O_APPEND, 0o600), close);
    this.#directory = opened.adopt(openToSync(home.join()), close);
    this.#read(warn);
    this.#opened = opened.move();
  }

  #read(warn: Warn): void {
    if (!fstat(this.#fd).isFile) {
      throw new VeneerError("corrupt store", `${this.#path} is not a file; move it elsewhere`);
    }
    const text = decode(readToEnd(this.#fd));
    // A killed process may have left a part of a line, which the next one must not be added to.
    if (text !== "" && !text.endsWith("\n")) writeAll(this.#fd, encode("\n"));
    const boot = bootId();
    let isOfThisBoot = true, from = "", damaged = 0;
    let unsynced: string[] = [];
    for (const text_ of text.split("\n").filter(Boolean)) {
      const line = parsed(text_);
      if (line === undefined) damaged++;
      else if ("run" in line) {
        isOfThisBoot = line.run === boot;
        from = line.from;
      } else if ("begin" in line) this.#known.set(line.begin, { state: "begun", mark: line.as });
      else if ("done" in line) {
        const isDoubtful = !isOfThisBoot;
        this.#known.set(line.done, { state: "done", from, mark: line.as, isDoubtful });
        unsynced.push(line.done);
      } else {
        for (const id of unsynced) {
          const known = this.#known.get(id);
          if (known?.state === "done") this.#known.set(id, { ...known, isDoubtful: false });
        }
        unsynced = [];
      }
    }
    // One line may be cut short by a kill.
    if (damaged > 1) {
      warn(`${this.#path} has ${damaged} damaged lines: what they say is done is refused`);
    }
  }

  /** The members that the record knows, in the order in which they were made. */
  get known(): ReadonlyMap<string, Known> {
    return this.#known;
  }

  /** Begins a run. */
  run(from: string): void {
    this.#from = from;
    this.#append({ run: bootId(), from });
    fdatasync(this.#fd, this.#path.text);
  }

  /** A member is about to be made. On disk when it returns. */
  begin(id: string): void {
    this.#known.delete(id);
    this.#known.set(id, { state: "begun", mark: undefined });
    this.#append({ begin: id });
    fdatasync(this.#fd, this.#path.text);
  }

  /** It is made, and its content comes next: from now on it is known by a mark. */
  made(id: string, mark: string): void {
    this.#append({ begin: id, as: mark });
  }

  /** A member is whole. */
  done(id: string, mark: string): void {
    this.#known.set(id, { state: "done", from: this.#from, mark, isDoubtful: false });
    this.#append({ done: id, as: mark });
  }

  /** Writes the file system of the home out, and records that. */
  sync(): void {
    syncfs(this.#directory, this.home.path);
    this.#append({ synced: true });
    fdatasync(this.#fd, this.#path.text);
  }

  #append(line: Line): void {
    writeAll(this.#fd, encode(`${JSON.stringify(line)}\n`));
  }

  [Symbol.dispose](): void {
    this.#opened.dispose();
  }
}

const bootId = () => readSystemFile("/proc/sys/kernel/random/boot_id") ?? "";

function parsed(text: string): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { run, from, begin, done, as, synced } = value as Record<string, unknown>;
  if (typeof run === "string" && typeof from === "string") return { run, from };
  if (typeof begin === "string") return typeof as === "string" ? { begin, as } : { begin };
  if (typeof done === "string" && typeof as === "string") return { done, as };
  return synced === true ? { synced } : undefined;
}
