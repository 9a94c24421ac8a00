/**
 * The effect of a send stream on the parent's tree, replayed on names alone.
 *
 * The stream's commands name entries by their paths at that moment: new inodes begin under names
 * such as `o257-8-0`, and entries in the way of a rename are moved aside for a while. Only after
 * the last command the old and the new path of each entry are known. So the tree is replayed: an
 * entry is created here when a command first names it, and holds its place in the parent's tree, if
 * it had one; entries that no command names stay in place.
 *
 * @module
 */
import { type SendCommand, SendStreamError } from "./send_stream.ts";
import { Suspects } from "./suspects.ts";

/** An entry that commands have named, or that lies above one. */
interface Entry {
  /** Its place in the parent's tree; `undefined` for a new entry. */
  readonly origin: string | undefined;
  /** Named entries in it; `undefined` for a name that is gone. */
  readonly entries: Map<string, Entry | undefined>;
  /** A command was about the entry itself. */
  touched: boolean;
  /** A command was about its data. */
  rewritten: boolean;
}

const entry = (origin: string | undefined): Entry => ({
  origin,
  entries: new Map(),
  touched: false,
  rewritten: false,
});

/**
 * Gives every name of an entry of the child that has several: a command is about one of them. Names
 * returned before may be left out, if they were returned for a rewritten entry or this one is not
 * rewritten.
 */
export type NamesOf = (path: string, rewritten: boolean) => Iterable<string>;

/** The parent's tree, to which commands are applied. Paths begin with a slash; the root is `""`. */
export class ReplayedTree {
  readonly #root = entry("");
  /** The former places of entries of the parent that were moved or removed. */
  readonly #left: string[] = [];

  /**
   * @throws {SendStreamError} for a command that does not fit the tree as the commands before left
   * it
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

  /** Every path, of either tree, that may not be the same in both. */
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

/** Adds an entry of the child, and all other names that it has. */
function suspectEntry(suspects: Suspects, found: Entry, place: string, namesOf: NamesOf): void {
  const { origin, rewritten } = found;
  const suspect = suspects.add(place);
  suspect.stayed = origin === place;
  suspect.rewritten ||= rewritten;
  if (origin === undefined) return;
  for (const other of namesOf(place, rewritten)) suspects.add(other).rewritten ||= rewritten;
}

/**
 * The entry of a name in a directory: one that commands have named, or one that stands as in the
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
