/**
 * Changes as the entries of a tar.
 *
 * @module
 */
import { encode } from "../../../ffi/cstring.ts";
import { type EntryName, entryName, nameText } from "../../../ffi/entry_name.ts";
import type { Change } from "../../tree/changes.ts";
import type { DirectoryStack } from "../../tree/directory_stack.ts";
import { WHITEOUT_PREFIX } from "../../tree/whiteouts.ts";
import type { EntryWriter } from "./entry_writer.ts";
import { PathBytes } from "./path_bytes.ts";

/** Reads changed entries below the root of a tree that a stack stands at. */
export class ChangesExport {
  readonly #path = new PathBytes();
  /**
   * The directories the stack went down through, and the length of the path to each one's entries.
   */
  readonly #names: string[] = [];
  readonly #lengths: number[] = [0];

  /** @param linked gets the paths of entries that have several names, as changes have them */
  constructor(
    readonly stack: DirectoryStack,
    readonly writer: EntryWriter,
    readonly linked?: Set<string>,
  ) {}

  /** Writes the next change. */
  write({ kind, path }: Change): void {
    const parents = path.slice(1).split("/");
    const text = parents.pop()!;
    const name = entryName(text);
    if (!this.#goTo(parents)) {
      return this.writer.warn(
        encode(path.slice(1)),
        "lost its directory while it was read: left out",
      );
    }
    if (text.startsWith(WHITEOUT_PREFIX)) {
      this.#path.push(name, false);
      this.writer.leaveOutReserved(this.#path.view);
    } else if (kind === "D") {
      this.writer.whiteout(this.#path.view, name);
    } else {
      this.#entry(name, path);
    }
  }

  /**
   * Goes from the walk's position to another directory; false if it is not a directory any more.
   */
  #goTo(names: readonly string[]): boolean {
    let common = 0;
    while (common < this.#names.length && this.#names[common] === names[common]) common++;
    while (this.#names.length > common) {
      this.stack.leave();
      this.#names.pop();
      this.#lengths.pop();
    }
    this.#path.length = this.#lengths[common];
    return names.slice(common).every((text) => this.#enter(entryName(text)) >= 0);
  }

  /**
   * Goes down into a directory: its descriptor, or `-errno`, the path being that of the entry all
   * the same.
   */
  #enter(name: EntryName): number {
    this.#path.push(name, true);
    const fd = this.stack.tryEnter(name);
    if (fd >= 0) {
      // A copy: `text` is a part of the whole path, which it would keep in memory.
      this.#names.push(nameText(name));
      this.#lengths.push(this.#path.length);
    }
    return fd;
  }

  #entry(name: EntryName, text: string): void {
    const { stack, writer } = this, path = this.#path;
    const { fd } = stack;
    const parentLength = path.length;
    path.push(name, false);
    const stat = writer.stat(fd, name, path.view);
    if (!stat) return;
    if (!stat.isDirectory && stat.links > 1) this.linked?.add(text);
    if (stat.isDirectory) {
      path.length = parentLength;
      const entered = this.#enter(name);
      if (!writer.isThere(entered, "openat", path.view)) return;
      writer.directory(entered, path.view);
    } else if (stat.isFile) {
      writer.file(fd, name, path.view);
    } else {
      writer.special(fd, name, path.view);
    }
  }
}
