/**
 * The place of what a repair replaces: nothing is deleted.
 *
 * ```text
 * <home>/.veneer/quarantine/<run>/journal      what the run does, written before it is done
 * <home>/.veneer/quarantine/<run>/repaired     the same after its end; `interrupted` if it was killed
 * <home>/.veneer/quarantine/<run>/home/<path>  what stood at this path in the home
 * ```
 *
 * A journal is for people: after a kill the next repair looks at the store afresh, since somebody
 * may have changed it meanwhile. Each step is one rename, so that a kill leaves damage that is found
 * again, or none.
 *
 * @module
 */
import { RENAME_NOREPLACE } from "../../ffi/names.ts";
import type { Home } from "../store/home.ts";
import { syncDirectory, writeMetadata } from "../store/metadata.ts";
import {
  type ConfinedPath,
  exists,
  isDirectory,
  list,
  makeDirectory,
  rename,
} from "../tree/confined.ts";
import type { Found } from "./finding.ts";
import type { Step } from "./mending.ts";

/** The directory among Veneer's own records. */
export const QUARANTINE = "quarantine";

/** The journal of a run at work; after that it has another name. */
const JOURNAL = "journal", DONE = "repaired", INTERRUPTED = "interrupted";

/** A layer that was lost, with all that it was moved aside with. */
export interface Lost {
  /** Its id; of a snapshot its key or name. */
  readonly name: string;
  /** The layer whose damage it was lost for. */
  readonly because: string;
  /** Paths below the home. */
  readonly moved: readonly string[];
}

/** What a run has done or is about to do. */
export interface Journal {
  readonly started: string;
  readonly repairs: (Pick<Found, "kind" | "layer" | "file" | "what"> & {
    readonly steps: readonly Step[];
  })[];
  readonly lost: Lost[];
  /** New names of snapshots, by their old ones or, if these are lost, their layers. */
  readonly renamed: Record<string, string>;
}

/** The quarantine of one run. It is made for the first step. */
export class Quarantine {
  readonly journal: Journal;
  readonly #run: string;
  #isMade = false;

  constructor(readonly home: Home, now = new Date()) {
    const started = now.toISOString();
    this.#run = `${started.replaceAll(":", "-").slice(0, 19)}-${crypto.randomUUID().slice(0, 8)}`;
    this.journal = { started, repairs: [], lost: [], renamed: {} };
  }

  /** Its directory. */
  get path(): ConfinedPath {
    return this.home.own(QUARANTINE, this.#run);
  }

  /** Its name, by which a quarantine of Docker's records is found. */
  get name(): string {
    return this.#run;
  }

  /** Whether anything was begun. */
  get isUsed(): boolean {
    return this.#isMade;
  }

  /** Writes the journal down; it is on disk when this returns. */
  write(): void {
    this.#make();
    writeMetadata(this.path.join(JOURNAL), `${JSON.stringify(this.journal, null, 1)}\n`);
  }

  #make(): void {
    if (this.#isMade) return;
    makeDirectory(this.home.own(QUARANTINE), 0o700);
    makeDirectory(this.path, 0o700);
    makeDirectory(this.path.join("home"), 0o700);
    syncDirectory(this.home.own(QUARANTINE));
    syncDirectory(this.home.own());
    this.#isMade = true;
  }

  /** A free place for what is at a path of the home, the directories above made. */
  place(path: string): ConfinedPath {
    this.#make();
    let at = this.path.join("home");
    const names = path.split("/"), last = names.pop()!;
    for (const name of names) {
      const directory = at.join(name);
      at = isDirectory(directory) ? directory : free(at, name);
      makeDirectory(at, 0o700);
    }
    return free(at, last);
  }

  /** Ends the run. */
  finish(): void {
    if (!this.#isMade) return;
    this.write();
    rename(this.path.join(JOURNAL), this.path.join(DONE), RENAME_NOREPLACE);
    syncDirectory(this.path);
  }
}

/** The runs that were killed. */
export function interruptedRuns(home: Pick<Home, "own">): ConfinedPath[] {
  return list(home.own(QUARANTINE)).map((run) => home.own(QUARANTINE, run))
    .filter((run) => exists(run.join(JOURNAL)));
}

/** Marks a run that was killed as ended. */
export function endInterrupted(run: ConfinedPath): void {
  rename(run.join(JOURNAL), run.join(INTERRUPTED));
  syncDirectory(run);
}

/** A name that nothing has: things of one name may be moved more than once. */
function free(directory: ConfinedPath, name: string): ConfinedPath {
  let path = directory.join(name);
  for (let again = 2; exists(path); again++) path = directory.join(`${name}.${again}`);
  return path;
}
