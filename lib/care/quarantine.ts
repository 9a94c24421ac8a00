/**
 * The quarantine keeps the things that a repair replaces; a repair deletes nothing.
 *
 * ```text
 * <home>/.veneer/quarantine/<run>/journal      what the run does, written before it is done
 * <home>/.veneer/quarantine/<run>/repaired     the same after its end; `interrupted` if it was killed
 * <home>/.veneer/quarantine/<run>/home/<path>  what stood at this path in the home
 * ```
 *
 * A journal is for people. After a kill the next repair does not read it, but checks the store
 * again, since it may have changed meanwhile. Each step is one rename, so a kill leaves either
 * damage that is found again or no damage.
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

/** The journal's name during the run, and its names afterwards. */
const JOURNAL = "journal", DONE = "repaired", INTERRUPTED = "interrupted";

/** A layer that was given up, and its files. */
export interface Lost {
  /** The layer's id; for a snapshot's layer the snapshot's key or name. */
  readonly name: string;
  /** The damaged layer that was the reason. */
  readonly because: string;
  /** Paths relative to the home. */
  readonly moved: readonly string[];
}

/** The repairs that a run has done or is about to do. */
export interface Journal {
  readonly started: string;
  readonly repairs: (Pick<Found, "kind" | "layer" | "file" | "what"> & {
    readonly steps: readonly Step[];
  })[];
  readonly lost: Lost[];
  /** New names of snapshots, by their old names or, if these are lost, by their layers. */
  readonly renamed: Record<string, string>;
}

/** The quarantine of one run. Its directory is made for the first step. */
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

  /** Its name, which is also the name of its quarantine of Docker's records. */
  get name(): string {
    return this.#run;
  }

  /** Whether a repair was begun. */
  get isUsed(): boolean {
    return this.#isMade;
  }

  /** Writes the journal to disk. */
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

  /**
   * Returns a free place for the entry of a path in the home, and makes the directories above it.
   */
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

/** Marks a killed run as ended. */
export function endInterrupted(run: ConfinedPath): void {
  rename(run.join(JOURNAL), run.join(INTERRUPTED));
  syncDirectory(run);
}

/** Returns a path that is free: several things of the same name may be moved. */
function free(directory: ConfinedPath, name: string): ConfinedPath {
  let path = directory.join(name);
  for (let again = 2; exists(path); again++) path = directory.join(`${name}.${again}`);
  return path;
}
