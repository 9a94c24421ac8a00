/**
 * Changes as a walk finds them.
 *
 * A directory is changed if something below it is. As it is listed before that, every directory
 * that the walk stands in waits for the first change below it.
 *
 * Trees may be deeper than the kernel takes paths, and then the texts of all paths from the root
 * down to the walk take too much memory. So the path of a change is joined for that change alone,
 * here and by walks: a joined string keeps its parts, and takes more memory only once it is read.
 *
 * @module
 */
import type { Change, ChangeKind } from "./changes.ts";

export class ChangeList {
  #found: Change[] = [];
  /** The directories from below the root down to the walk's position. */
  readonly #directories: { readonly above: string; readonly name: string }[] = [];
  /** How many of them are listed, which are the first ones. */
  #listed = 0;

  /** How many changes there are to take. */
  get length(): number {
    return this.#found.length;
  }

  /**
   * The walk goes down into a directory.
   *
   * @param above  the path of the walk's directory
   * @param listed whether a change of the directory itself was added
   */
  enter(above: string, name: string, listed: boolean): void {
    this.#directories.push({ above, name });
    if (listed) this.#listed = this.#directories.length;
  }

  /** The walk goes back up. */
  leave(): void {
    this.#directories.pop();
    this.#listed = Math.min(this.#listed, this.#directories.length);
  }

  /** Adds a change of an entry of the walk's directory. */
  add(kind: ChangeKind, path: string): void {
    while (this.#listed < this.#directories.length) {
      const { above, name } = this.#directories[this.#listed++];
      this.#found.push({ kind: "C", path: `${above}/${name}` });
    }
    this.#found.push({ kind, path });
  }

  /** The changes since the last time. */
  take(): Change[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }
}
