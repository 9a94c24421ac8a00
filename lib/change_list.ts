/**
 * Changes as a walk finds them.
 *
 * A directory is changed where something below it is. As it is listed before that, every directory that
 * the walk stands in waits for the first change below it.
 *
 * @module
 */
import type { Change, ChangeKind } from "./changes.ts";

export class ChangeList {
  #found: Change[] = [];
  /** The paths of the directories from the root down to where the walk stands. */
  readonly #directories: string[] = [];
  /** How many of them are listed, which are the first ones; the root never is. */
  #listed = 0;
  #last = "";

  /** How many changes there are to take. */
  get length(): number {
    return this.#found.length;
  }

  /** The walk goes down into a directory, of which a change of its own was added before. */
  enter(path: string): void {
    this.#directories.push(path);
    if (this.#directories.length === 1 || this.#last === path) {
      this.#listed = this.#directories.length;
    }
  }

  /** The walk goes back up. */
  leave(): void {
    this.#directories.pop();
    this.#listed = Math.min(this.#listed, this.#directories.length);
  }

  /** Adds a change of an entry of the directory where the walk stands. */
  add(kind: ChangeKind, path: string): void {
    while (this.#listed < this.#directories.length) {
      this.#found.push({ kind: "C", path: this.#directories[this.#listed++] });
    }
    this.#found.push({ kind, path });
    this.#last = path;
  }

  /** The changes since the last time. */
  take(): Change[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }
}
