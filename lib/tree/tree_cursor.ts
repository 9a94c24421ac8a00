/**
 * Going from entry to entry of a tree in the order of `comparePaths`, a directory at a time: paths
 * may be longer than the kernel takes them, and each directory is opened once.
 *
 * @module
 */
import { entryName, nameText } from "../../ffi/entry_name.ts";
import { type Stat, tryStatat } from "../../ffi/stat.ts";
import { DirectoryStack } from "./directory_stack.ts";

export class TreeCursor implements Disposable {
  readonly #stack: DirectoryStack;
  /** The directories from below the root down to the cursor. */
  readonly #names: string[] = [];

  /** @param root an open directory, which stays the caller's */
  constructor(root: number) {
    this.#stack = new DirectoryStack(root);
  }

  /**
   * `statx(2)` of an entry, raw: 0 or `-errno`, also that of a directory above it.
   *
   * @param path from the root, with a leading slash
   */
  tryStat(path: string, stat: Stat): number {
    const names = path.slice(1).split("/");
    const last = names.pop()!;
    const result = this.#tryGoTo(names);
    return result < 0 ? result : tryStatat(this.#stack.fd, entryName(last), stat);
  }

  #tryGoTo(names: readonly string[]): number {
    let common = 0;
    while (common < this.#names.length && this.#names[common] === names[common]) common++;
    while (this.#names.length > common) {
      this.#stack.leave();
      this.#names.pop();
    }
    for (const text of names.slice(common)) {
      const name = entryName(text);
      const fd = this.#stack.tryEnter(name);
      if (fd < 0) return fd;
      // A copy: `text` is a part of the whole path, which it would keep in memory.
      this.#names.push(nameText(name));
    }
    return 0;
  }

  [Symbol.dispose](): void {
    this.#stack[Symbol.dispose]();
  }
}
