/**
 * The effect of a send stream on the parent's tree, replayed on names alone.
 *
 * The stream's commands name entries by their paths at that moment: new inodes begin under names
 * such as `o257-8-0`, and entries in the way of a rename are moved aside for a while. Only after
 * the last command the old and the new path of each entry are known. So the commands are replayed
 * on a tree: an entry is created here when a command first names it, and has its path in the
 * parent's tree, if it existed there. Entries that no command names stay in place.
 *
 * @module
 */
import { type SendCommand, SendStreamError } from "./send_stream.ts";
import { Suspects } from "./suspects.ts";

/** An entry that a command has named, or a directory above one. */
interface Entry {
  /** Its path in the parent's tree; `undefined` for a new entry. */
  readonly origin: string | undefined;
  /** The named entries in it; `undefined` for a name that was removed. */
  readonly entries: Map<string, Entry | undefined>;
  /** Whether a command has changed the entry itself. */
  touched: boolean;
  /** Whether a command has changed its data. */
  rewritten: boolean;
}

const entry = (origin: string | undefined): Entry => ({
  origin,
  entries: new Map(),
  touched: false,
  rewritten: false,
});

/**
 * Returns all names of an entry of the child that has several names, because a command mentions
 * only one of them. Names returned before may be left out, if they were returned for a rewritten
 * entry or if this entry is not rewritten.
 */
export type NamesOf = (path: string, rewritten: boolean) => Iterable<string>;

/** The parent's tree, to which commands are applied. Paths begin with a slash; the root is `""`. */
export class ReplayedTree {
  readonly #root = entry("");
  /** The former paths of the parent's entries that were moved or removed. */
  readonly #left: string[] = [];

  /**
   * @throws {SendStreamError} for a command that does not fit the tree after the commands before it
   */
  apply({ name, path, to, link }: SendCommand): void {
    switch (name) {
      case "subvol":
      case "snapshot":
        return;
      case "mkfile":
      case "mkdir":
      case "mknod":
      case "mkfifo":
      case "mksock":
      case "symlink":
        return this.#put(path, entry(undefined));
      case "rename":
        return this.#put(to ?? "", this.#take(path));
      case "link":
        return this.#put(path, this.#find(link ?? ""));
      case "unlink":
      case "rmdir":
        this.#take(path);
        return;
      case "write":
      case "clone":
      case "truncate":
      case "update_extent":
      case "fallocate":
      case "encoded_write":
        this.#find(path).rewritten = true;
        this.#find(path).touched = true;
        return;
      default:
        this.#find(path).touched = true;
    }
  }

  #find(path: string): Entry {
    if (path === "") return this.#root;
    let found = this.#root;
    for (const name of path.split("/")) found = child(found, name);
    return found;
  }

  /** The directory above a path, and the path's last name. */
  #place(path: string): [directory: Entry, name: string] {
    if (path === "") throw new SendStreamError("it moves the root");
    const at = path.lastIndexOf("/");
    return [this.#find(at < 0 ? "" : path.slice(0, at)), path.slice(at + 1)];
  }

  #take(path: string): Entry {
    const [directory, name] = this.#place(path);
    const taken = child(directory, name);
    directory.entries.set(name, undefined);
    if (taken.origin !== undefined) this.#left.push(taken.origin);
    return taken;
  }

  #put(path: string, what: Entry): void {
    const [directory, name] = this.#place(path);
    const before = directory.entries.get(name);
    if (before?.origin !== undefined) this.#left.push(before.origin);
    what.touched = true;
    directory.entries.set(name, what);
  }

  /** All paths of either tree that may differ between the trees. */
  suspects(namesOf: NamesOf): Suspects {
    const suspects = new Suspects();
    for (const path of this.#left) suspects.add(path);
    const pending: [directory: Entry, path: string][] = [[this.#root, ""]];
    for (let next; (next = pending.pop()) !== undefined;) {
      const [directory, path] = next;
      for (const [name, found] of directory.entries) {
        if (found === undefined) continue;
        const place = `${path}/${name}`;
        if (found.touched) suspectEntry(suspects, found, place, namesOf);
        if (found.entries.size > 0) pending.push([found, place]);
      }
    }
    return suspects;
  }
}

/** Adds an entry of the child by all its names. */
function suspectEntry(suspects: Suspects, found: Entry, place: string, namesOf: NamesOf): void {
  const { origin, rewritten } = found;
  const suspect = suspects.add(place);
  suspect.stayed = origin === place;
  suspect.rewritten ||= rewritten;
  if (origin === undefined) return;
  for (const other of namesOf(place, rewritten)) suspects.add(other).rewritten ||= rewritten;
}

/**
 * The entry of a name in a directory: one that a command has named, or an unchanged one of the
 * parent.
 */
function child(directory: Entry, name: string): Entry {
  const known = directory.entries.get(name);
  if (known !== undefined) return known;
  if (directory.origin === undefined || directory.entries.has(name)) {
    throw new SendStreamError(`it names ${JSON.stringify(name)}, which does not exist there`);
  }
  const found = entry(`${directory.origin}/${name}`);
  directory.entries.set(name, found);
  return found;
}
