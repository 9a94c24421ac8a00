/**
 * A layer's tree as plain objects, and what a tar makes of it: an oracle that shares nothing with
 * the program.
 *
 * It knows nothing of layers: an entry is put into the tree, a whiteout takes something out of it,
 * and of a tar's own entries it only knows which they are.
 */

/** The attributes of an entry, as a tar's entry says them. */
export interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** In nanoseconds; `undefined` is the time of the run. */
  readonly time: bigint | undefined;
  /** By name. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** What an entry is beside its attributes. */
export type Kind =
  | { readonly kind: "directory" }
  | { readonly kind: "file"; readonly data: string }
  | { readonly kind: "symlink"; readonly target: string }
  | { readonly kind: "fifo" }
  | { readonly kind: "char" | "block"; readonly major: number; readonly minor: number };

/** One entry of a tar. Paths are bytes, one character each. */
export type Step =
  | { readonly put: string; readonly as: Kind; readonly attributes: Attributes }
  | { readonly link: string; readonly to: string }
  | { readonly hide: string }
  | { readonly hideAll: string };

/** An inode. */
export interface Node {
  readonly as: Kind;
  attributes: Attributes;
  /** Of a directory. */
  readonly children: Map<string, Node>;
  /** The tar that made it. */
  readonly layer: number;
}

/** A directory that no entry announces. */
const PLAIN: Attributes = { mode: 0o755, uid: 0, gid: 0, time: undefined, xattrs: new Map() };

/** Why a step cannot be done. */
export class Refused extends Error {}

/** Where a path ends: the directory that is there, and what is missing below it. */
export interface Place {
  readonly directory: Node;
  readonly missing: readonly string[];
  /** Links that were followed. */
  readonly links: number;
  /** A link led above the root, or is absolute. */
  readonly climbs: boolean;
  /** Something is missing behind a link. */
  readonly dangles: boolean;
}

/** More than any driver follows would be refused. */
const MOST_LINKS = 8;

/** A tree to which tars are applied. */
export class Model {
  readonly root: Node = node({ kind: "directory" }, PLAIN, 0);
  #layer = 0;
  /** The entries that the present tar made, by their directory. */
  #made = new Map<Node, Set<string>>();

  /**
   * @param copiesUp a hard link to a file of a layer below is one to a copy: what other names that
   *   file has stay with the original
   */
  constructor(readonly copiesUp: boolean) {}

  /** Begins another tar. */
  beginLayer(): void {
    this.#layer++;
    this.#made = new Map();
  }

  /** Takes one entry. @throws {Refused} with nothing changed */
  take(step: Step): void {
    if ("put" in step) this.#put(step.put, step.as, step.attributes);
    else if ("link" in step) this.#link(step.link, step.to);
    else if ("hide" in step) this.#hide(step.hide);
    else this.#hideAll(step.hideAll);
  }

  /** Follows the path of a directory. @throws {Refused} if something that is none is on it */
  find(path: string): Place {
    let at: Node[] = [this.root], links = 0, climbs = false, dangles = false;
    const missing: string[] = [];
    const todo = split(path).map((name) => ({ name, linked: false }));
    for (let next; (next = todo.shift()) !== undefined;) {
      const { name, linked } = next;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (missing.length > 0) throw new Refused("up from what is not there");
        if (at.length > 1) at.pop();
        else climbs = true;
        continue;
      }
      const child = missing.length > 0 ? undefined : at.at(-1)!.children.get(name);
      if (child === undefined) {
        missing.push(name);
        dangles ||= linked;
      } else if (child.as.kind === "directory") at.push(child);
      else if (child.as.kind === "symlink") {
        if (++links > MOST_LINKS) throw new Refused("too many links");
        const { target } = child.as;
        if (target.startsWith("/")) {
          at = [this.root];
          climbs = true;
        }
        todo.unshift(...target.split("/").map((name) => ({ name, linked: true })));
      } else throw new Refused(`${name} is ${child.as.kind}`);
    }
    return { directory: at.at(-1)!, missing, links, climbs, dangles };
  }

  #put(path: string, as: Kind, attributes: Attributes): void {
    if (path === "") {
      this.root.attributes = attributes;
      return;
    }
    const [parent, name] = this.#parent(path);
    const there = parent.children.get(name);
    if (as.kind === "directory" && there?.as.kind === "directory") there.attributes = attributes;
    else parent.children.set(name, node(as, attributes, this.#layer));
    this.#note(parent, name);
  }

  #link(path: string, to: string): void {
    const [toParent, toName] = parts(to), target = this.find(toParent);
    let inode = target.missing.length > 0 ? undefined : target.directory.children.get(toName);
    if (inode === undefined || inode.as.kind === "directory") throw new Refused(`no file at ${to}`);
    const place = this.find(parts(path)[0]), { directory } = target;
    const there = place.missing.length > 0
      ? undefined
      : place.directory.children.get(parts(path)[1]);
    if (there !== undefined && [...entriesOf(there)].some(([, node]) => node === directory)) {
      throw new Refused("in the place of the directory that the file is in");
    }
    const [parent, name] = this.#parent(path);
    if (this.copiesUp && inode.layer !== this.#layer) {
      inode = node(inode.as, inode.attributes, this.#layer);
      target.directory.children.set(toName, inode);
    }
    parent.children.set(name, inode);
    this.#note(parent, name);
  }

  #hide(path: string): void {
    const [above, name] = parts(path), place = this.#lookUp(above);
    if (place !== undefined) this.#prune(place, name);
  }

  #hideAll(path: string): void {
    const place = this.#lookUp(path);
    for (const name of place?.children.keys() ?? []) this.#prune(place!, name);
  }

  /** A directory that is there. */
  #lookUp(path: string): Node | undefined {
    try {
      const { directory, missing } = this.find(path);
      return missing.length > 0 ? undefined : directory;
    } catch (error) {
      if (error instanceof Refused && !error.message.includes("links")) return undefined;
      throw error;
    }
  }

  /** Takes out what this tar has not put there. */
  #prune(parent: Node, name: string): void {
    const child = parent.children.get(name);
    if (child === undefined) return;
    const isMade = this.#made.get(parent)?.has(name) ?? false;
    for (const below of child.children.keys()) this.#prune(child, below);
    if (isMade) return;
    if (child.children.size === 0) parent.children.delete(name);
    else child.attributes = PLAIN;
  }

  /** The directory of an entry, made where it is missing, and the entry's name. */
  #parent(path: string): [Node, string] {
    const [above, name] = parts(path);
    let { directory, missing } = this.find(above);
    for (const text of missing) {
      const child = node({ kind: "directory" }, PLAIN, this.#layer);
      directory.children.set(text, child);
      this.#note(directory, text);
      directory = child;
    }
    return [directory, name];
  }

  #note(parent: Node, name: string): void {
    const names = this.#made.get(parent) ?? new Set();
    this.#made.set(parent, names.add(name));
  }
}

function node(as: Kind, attributes: Attributes, layer: number): Node {
  return { as, attributes, children: new Map(), layer };
}

const split = (path: string) => path === "" ? [] : path.split("/");

/** A path's directory and name. */
export function parts(path: string): [string, string] {
  const at = path.lastIndexOf("/");
  return [path.slice(0, Math.max(0, at)), path.slice(at + 1)];
}

/** All entries of a tree, parents first, by their paths. */
export function* entriesOf(root: Node, path = ""): Generator<[path: string, Node]> {
  yield [path, root];
  for (const [name, child] of root.children) {
    yield* entriesOf(child, path === "" ? name : `${path}/${name}`);
  }
}
