/**
 * From a path through links to the real path of the directory it leads to, as the kernel would go:
 * by descriptor, component by component, following each link in its place, whether of the layer or
 * of a parent. The layer's root is `/`, and `..` stays there.
 *
 * Time is bounded by the length of the path, since links may add only so much to it
 * ({@linkcode MAXSYMLINKS}, {@linkcode MOST_ADDED}), and resolved links are cached
 * ({@linkcode Ways}). `link_budget.ts` bounds the cost of links in all paths of a tar. Costs are
 * the same with and without the cache: whether a tar is accepted depends on its content alone.
 *
 * @module
 */
import { decode } from "../../../ffi/cstring.ts";
import { type EntryName, entryName } from "../../../ffi/entry_name.ts";
import { EINVAL, ELOOP, ENOENT, ENOTDIR } from "../../../ffi/errno.ts";
import { close } from "../../../ffi/files.ts";
import { MAXSYMLINKS, tryReadlinkat } from "../../../ffi/names.ts";
import { DirectoryStack } from "../../tree/directory_stack.ts";
import { PathError } from "../read/layer_path.ts";

/** How many components the links of one path may add to it: as many as the longest path has. */
const MOST_ADDED = 2048;
/** How many ways are kept. */
const MOST_WAYS = 256;

/** Components that name no entry. */
const NO_NAMES = ["", ".", ".."];

/** The directory that a path leads to, and the cost of following it. */
export interface Way {
  /** The real path. */
  readonly path: string;
  readonly links: number;
  readonly added: number;
}

/** The ways of paths that end in a link or have links on them: text without a descriptor. */
export class Ways {
  readonly #ways = new Map<string, Way>();

  get(path: string): Way | undefined {
    return this.#ways.get(path);
  }

  set(path: string, way: Way): void {
    this.#ways.set(path, way);
    if (this.#ways.size <= MOST_WAYS) return;
    for (const oldest of this.#ways.keys()) {
      this.#ways.delete(oldest);
      break;
    }
  }

  clear(): void {
    this.#ways.clear();
  }
}

/** Opens the directory at a real path, raw: a descriptor, which the caller closes, or `-errno`. */
export type OpenReal = (path: string) => number;

/**
 * Provides a directory that the layer itself does not have: copies it up from the parents, or makes
 * it.
 *
 * @param dirfd the directory that it is to be in, and
 * @param directory its real path
 * @returns whether the directory exists now, or the target if the parents have a link there
 */
export type ReachDirectory = (
  dirfd: number,
  name: EntryName,
  directory: string,
) => boolean | Uint8Array;

/** One path being followed. */
export class Walk implements Disposable {
  readonly #path: string;
  readonly #ways: Ways;
  readonly #reach: ReachDirectory | undefined;
  readonly #position: Position;
  #links = 0;
  #added = 0;

  /**
   * @param path normalised; the targets of the links on it need not be
   * @param reach the layer and its parents; without it, only the layer's own directories are used
   */
  constructor(path: string, ways: Ways, open: OpenReal, reach?: ReachDirectory) {
    this.#path = path;
    this.#ways = ways;
    this.#reach = reach;
    this.#position = new Position(open);
  }

  [Symbol.dispose](): void {
    this.#position[Symbol.dispose]();
  }

  /**
   * The directory that the path leads to, or `-errno`.
   *
   * @throws {PathError} if the links lead on for too long
   */
  run(): Way | number {
    const result = this.#go(this.#path.split("/"));
    if (result < 0) return result;
    const way = {
      path: this.#position.path.join("/"),
      links: this.#links,
      added: this.#added,
    };
    if (way.links > 0) this.#ways.set(this.#path, way);
    return way;
  }

  /** Goes on by components: 0 or `-errno`. */
  #go(components: readonly string[]): number {
    let links = -1;
    for (let i = 0; i < components.length; i++) {
      if (links !== this.#links) {
        i += this.#leap(components.slice(i));
        if (i === components.length) break;
      }
      links = this.#links;
      const result = this.#step(components[i]);
      if (result < 0) return result;
    }
    return 0;
  }

  /**
   * At the start and past a link, the rest of the path often exists and has no links. This is the
   * length of the part that does.
   */
  #leap(components: readonly string[]): number {
    if (components.some((component) => NO_NAMES.includes(component))) return 0;
    for (const count of [components.length, components.length - 1]) {
      if (count < 2) break;
      const path = [...this.#position.path, ...components.slice(0, count)];
      if (this.#position.tryStandAt(path) >= 0) return count;
    }
    return 0;
  }

  /** Goes on by one component: 0 or `-errno`. */
  #step(component: string): number {
    const position = this.#position;
    if (component === "" || component === ".") return 0;
    if (component === "..") {
      position.goUp();
      return 0;
    }
    const name = entryName(component);
    let entered = position.tryEnter(name, component);
    if (entered === -ENOENT || entered === -ENOTDIR || entered === -ELOOP) {
      const fd = position.tryStand();
      if (fd < 0) return fd;
      const target = tryReadlinkat(fd, name);
      if (typeof target !== "number") return this.#follow(component, decode(target));
      if (target !== -EINVAL && target !== -ENOENT) return target;
      const reached = this.#reach?.(fd, name, position.path.join("/")) ?? false;
      if (typeof reached !== "boolean") return this.#follow(component, decode(reached));
      if (!reached) return target === -EINVAL ? -ENOTDIR : -ENOENT;
      entered = position.tryEnter(name, component);
    }
    return Math.min(entered, 0);
  }

  /** Follows a link in the directory of the walk's position. */
  #follow(name: string, target: string): number {
    const position = this.#position;
    const link = [...position.path, name].join("/");
    const known = this.#ways.get(link);
    if (known !== undefined) {
      this.#count(known.links, known.added);
      position.goTo(known.path === "" ? [] : known.path.split("/"));
      return 0;
    }
    const links = this.#links, added = this.#added;
    const components = target.split("/");
    this.#count(1, components.length);
    if (target.startsWith("/")) position.goTo([]);
    const result = this.#go(target.startsWith("/") ? components.slice(1) : components);
    if (result < 0) return result;
    this.#ways.set(link, {
      path: position.path.join("/"),
      links: this.#links - links,
      added: this.#added - added,
    });
    return 0;
  }

  #count(links: number, added: number): void {
    this.#links += links;
    this.#added += added;
    if (this.#links <= MAXSYMLINKS && this.#added <= MOST_ADDED) return;
    throw new PathError(
      `its path leads over more than ${MAXSYMLINKS} links, or these through more than ${MOST_ADDED} ` +
        `directories`,
    );
  }
}

/** A walk's position: a real path, which is opened only if an entry in it is needed. */
class Position implements Disposable {
  readonly #open: OpenReal;
  #path: string[] = [];
  #stack: DirectoryStack | undefined;
  /**
   * The real path that the stack stands at; the first `#above` of its components lie above the
   * stack's root.
   */
  #standing: string[] = [];
  #above = 0;
  /** So many components of the two paths are known to be the same. */
  #common = 0;

  constructor(open: OpenReal) {
    this.#open = open;
  }

  get path(): readonly string[] {
    return this.#path;
  }

  goTo(path: string[]): void {
    this.#path = path;
    this.#common = 0;
  }

  /** Above the layer's root is the root itself. */
  goUp(): void {
    this.#path.pop();
    this.#common = Math.min(this.#common, this.#path.length);
  }

  /** Goes down into a directory: its descriptor, or `-errno` without a change of position. */
  tryEnter(name: EntryName, component: string): number {
    const there = this.tryStand();
    if (there < 0) return there;
    const fd = this.#stack!.tryEnter(name);
    if (fd < 0) return fd;
    this.#path.push(component);
    this.#standing.push(component);
    this.#common++;
    return fd;
  }

  /** The descriptor of the directory, which stays the position's, or `-errno`. */
  tryStand(): number {
    const isNear = this.#common >= this.#above && this.#common === this.#path.length;
    if (this.#stack === undefined || !isNear) return this.tryStandAt(this.#path);
    while (this.#standing.length > this.#common) {
      this.#stack.leave();
      this.#standing.pop();
    }
    return this.#stack.fd;
  }

  /** Goes to a real path at once, and nowhere if it cannot be opened. */
  tryStandAt(path: string[]): number {
    const fd = this.#open(path.join("/"));
    if (fd < 0) return fd;
    this[Symbol.dispose]();
    try {
      this.#stack = new DirectoryStack(fd);
    } finally {
      close(fd);
    }
    this.#path = path;
    this.#standing = [...path];
    this.#above = this.#common = path.length;
    return this.#stack.fd;
  }

  [Symbol.dispose](): void {
    this.#stack?.[Symbol.dispose]();
    this.#stack = undefined;
  }
}
