/**
 * A whole directory as the entries of a tar.
 *
 * @module
 */
import { DT_DIR, DT_REG, type Listing, readListing } from "../../../ffi/directory.ts";
import { decode } from "../../../ffi/cstring.ts";
import { type EntryName, entryName } from "../../../ffi/entry_name.ts";
import { Stat } from "../../../ffi/stat.ts";
import { isOverlayOpaque, isOverlayWhiteout } from "../../tree/branch.ts";
import type { DirectoryStack } from "../../tree/directory_stack.ts";
import type { Parents } from "../../tree/parents.ts";
import {
  OPAQUE_MARKER,
  WHITEOUT_META_PREFIX,
  WHITEOUT_PREFIX,
  type WhiteoutForm,
} from "../../tree/whiteouts.ts";
import type { EntryWriter } from "./entry_writer.ts";
import type { WorkerRuns } from "./worker_runs.ts";
import { RUN_MAX } from "./export_runs.ts";
import { PathBytes } from "./path_bytes.ts";

/** A directory on the way down to the walk's position. */
interface Level {
  readonly listing: Listing;
  /** The next entry of the listing. */
  next: number;
  /** Up to here, files are written on this thread. */
  own: number;
  /** Of the directory's path, with the slash. */
  readonly pathLength: number;
}

/** Walks the tree that a stack stands at the root of. */
export class TreeExport {
  readonly #path = new PathBytes();
  readonly #levels: Level[] = [];
  readonly #stat = new Stat();

  constructor(
    readonly stack: DirectoryStack,
    readonly writer: EntryWriter,
    readonly form: WhiteoutForm,
    /** The parents; without them, marks in the tree about parents have no meaning. */
    readonly parents: Parents | undefined,
    readonly runs?: WorkerRuns,
  ) {}

  run(includeRoot: boolean): void {
    if (includeRoot) this.writer.directory(this.stack.fd, this.#path.view);
    // No union mount looks whether the root itself is opaque.
    this.#list(readListing(this.stack.fd));
    for (let level; (level = this.#levels.at(-1));) {
      this.#path.length = level.pathLength;
      if (level.next < level.listing.length) {
        if (!this.#queued(level)) this.#entry(level.listing, level.next++);
      } else {
        this.#levels.pop();
        if (this.#levels.length > 0) this.stack.leave();
      }
    }
  }

  /** Starts on the entries of the directory just entered. */
  #list(listing: Listing): void {
    this.#levels.push({ listing, next: 0, own: 0, pathLength: this.#path.length });
  }

  /** Whether a directory is marked as one that hides all that the parents have in it. */
  #isMarked(fd: number, { names }: Listing): boolean {
    if (this.parents === undefined) return false;
    return this.form === "aufs" ? names.includes(OPAQUE_MARKER) : isOverlayOpaque(fd);
  }

  /** Whether the parents have an entry of a name in the walk's directory. */
  #isBelow(name: EntryName): boolean {
    const directory = decode(this.#path.view.subarray(0, -1));
    return this.parents?.find(directory, name, this.#stat) !== undefined;
  }

  /** Queues the files that come next for the Worker, if it takes them. */
  #queued(level: Level): boolean {
    const { listing, next, own } = level;
    if (!this.runs || next < own || !isPlainFile(listing, next)) return false;
    let end = next + 1;
    const most = Math.min(listing.length, next + RUN_MAX);
    while (end < most && isPlainFile(listing, end)) end++;
    const queued = this.runs.queue(this.stack.fd, this.#path.view, listing, next, end - next);
    if (queued) level.next = end;
    else level.own = end;
    return queued;
  }

  #entry(listing: Listing, index: number): void {
    const name = listing.name(index);
    if (listing.names[index].startsWith(WHITEOUT_PREFIX)) {
      return this.#reserved(listing.names[index], name);
    }
    const type = listing.type(index);
    if (type === DT_DIR) this.#directory(name);
    else if (type === DT_REG) this.#file(name);
    else this.#other(name);
  }

  #directory(name: EntryName): void {
    const { stack, writer } = this, path = this.#path;
    const parentLength = path.length;
    path.push(name, true);
    const fd = stack.tryEnter(name);
    if (!writer.isThere(fd, "openat", path.view)) return;
    writer.directory(fd, path.view);
    const listing = readListing(fd);
    if (this.#isMarked(fd, listing)) {
      path.length = parentLength;
      const hides = this.#isBelow(name) && this.#stat.isDirectory;
      path.push(name, true);
      // In the tar this comes before the directory's first entry.
      if (hides) writer.opaque(path.view);
    }
    this.#list(listing);
  }

  #file(name: EntryName): void {
    this.#path.push(name, false);
    this.writer.file(this.stack.fd, name, this.#path.view);
  }

  /** An entry that is neither a file nor a directory, or whose type the listing did not have. */
  #other(name: EntryName): void {
    const { stack, writer, form } = this, path = this.#path;
    const parentLength = path.length;
    path.push(name, false);
    const stat = writer.stat(stack.fd, name, path.view);
    if (!stat) return;
    if (stat.isDirectory || stat.isFile) {
      path.length = parentLength;
      return stat.isDirectory ? this.#directory(name) : this.#file(name);
    }
    if (form === "overlay" && isOverlayWhiteout(stat)) {
      path.length = parentLength;
      return this.#whiteout(name);
    }
    writer.special(stack.fd, name, path.view);
  }

  /**
   * A whiteout that hides nothing is left out: a mount does not show it, and no other driver has
   * it.
   */
  #whiteout(name: EntryName): void {
    if (this.#isBelow(name)) this.writer.whiteout(this.#path.view, name);
  }

  /**
   * A name that begins with `.wh.` means a deletion in a tar, so nothing else can have it there.
   */
  #reserved(text: string, name: EntryName): void {
    const { writer, form } = this, path = this.#path;
    if (form !== "aufs") {
      path.push(name, false);
      return writer.leaveOutReserved(path.view);
    }
    if (!text.startsWith(WHITEOUT_META_PREFIX)) {
      this.#whiteout(entryName(name.subarray(WHITEOUT_PREFIX.length, -1)));
    }
  }
}

/** Whether an entry is a regular file whose name has no other meaning. */
function isPlainFile(listing: Listing, index: number): boolean {
  return listing.type(index) === DT_REG && !listing.names[index].startsWith(WHITEOUT_PREFIX);
}
