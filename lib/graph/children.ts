/**
 * The children of a layer, for callers that remove it, write to it or mount it.
 *
 * Each layer records its parent, and nothing records its children. So a look at the store makes one
 * `statx(2)` for every layer: the inode of its record and the time of the last change are the
 * *version* of the record. The parent that a version names is read once and kept in an index
 * (`children_index.ts`). The index, or a first look at a record, gives candidates; the children are
 * those whose record, read as the driver reads it, names the parent now.
 *
 * A record that is replaced or changed gets another version, also if its inode has the same number:
 * a change sets the time to the present. Only the clock's tick could hide one, so nothing is kept
 * of a record that was changed less than {@linkcode TICK} ago.
 *
 * @module
 */
import { cstring, decode } from "../../ffi/cstring.ts";
import { type NumberedName, readNumberedNames } from "../../ffi/directory.ts";
import { ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import {
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_INSIDE,
  tryOpenat2,
  tryRead,
  withFd,
} from "../../ffi/files.ts";
import { Stat, tryFstat, tryStatRelative } from "../../ffi/stat.ts";
import { openDirectory } from "../tree/confined.ts";
import type { LayerBackend } from "./backend.ts";
import { isId } from "../base/ids.ts";
import type { Warn } from "../base/warn.ts";
import type { RunState } from "../store/run_state.ts";
import { Ancestry } from "./ancestry.ts";
import { ChildrenIndex, versionOf } from "./children_index.ts";

/** The most bytes of a record that are read: more than any name of a parent has. */
const START = 512;

/**
 * How old a change must be to be told from a later one, in seconds: more than the tick of any file
 * system's clock.
 */
const TICK = 2;

/** The number of layers up to which no path is forgotten. */
const FEW = 32;

const NONE: readonly string[] = [];

/** A layer, and the names of the layer that it may stand on: `undefined` if they are unknown. */
interface Link {
  readonly id: string;
  readonly parents: readonly string[] | undefined;
}

/** The children of a store's layers. */
export class Children {
  readonly #index: ChildrenIndex;
  readonly #stat = new Stat();
  readonly #buffer = new Uint8Array(START);
  /** The paths of records, as calls take them: of the layers of the last look, and some others. */
  readonly #paths = new Map<string, Uint8Array<ArrayBuffer>>();

  constructor(readonly backend: LayerBackend, state: RunState, warn: Warn) {
    this.#index = new ChildrenIndex(backend.home, state, warn);
  }

  /** Looks at all layers. The result holds as long as the caller prevents new layers. */
  look(): FoundChildren {
    const { home, parentRecords } = this.backend;
    return home.root.hold(() => {
      const layers = withFd(openDirectory(parentRecords.layers), readNumberedNames)
        .filter(({ name }) => this.#paths.has(name) || isId(name));
      if (this.#paths.size > 2 * layers.length + FEW) this.#paths.clear();
      this.#index.load(layers.length);
      const links = withFd(
        openDirectory(parentRecords.directory),
        (directory) => layers.map((layer) => this.#link(directory, layer)),
      );
      this.#index.save(layers.map(({ name }) => name));
      return new FoundChildren(this.backend, links);
    });
  }

  #link(directory: number, { name: id, inode }: NumberedName): Link {
    const path = this.#path(id), stat = this.#stat;
    const result = tryStatRelative(directory, path, stat);
    if (result === -ENOENT || result === -ENOTDIR) return { id, parents: this.#origin(id, inode) };
    if (result < 0) return { id, parents: undefined };
    if (!stat.isFile) return { id, parents: NONE };
    const known = this.#index.parentsAt(id, stat);
    return { id, parents: known ?? this.#read(directory, path, id) };
  }

  #path(id: string): Uint8Array<ArrayBuffer> {
    let path = this.#paths.get(id);
    if (path === undefined) {
      this.#paths.set(id, path = cstring(this.backend.parentRecords.path(id)));
    }
    return path;
  }

  /** The parent that a record names; kept if a later change will be noticed. */
  #read(
    directory: number,
    path: Uint8Array<ArrayBuffer>,
    id: string,
  ): readonly string[] | undefined {
    const fd = tryOpenat2(directory, path, O_RDONLY | O_NONBLOCK, RESOLVE_INSIDE);
    if (fd < 0) return undefined;
    return withFd(fd, () => {
      const stat = this.#stat;
      if (tryFstat(fd, stat) < 0 || !stat.isFile) return undefined;
      const length = tryRead(fd, this.#buffer);
      if (length < 0) return undefined;
      const start = decode(this.#buffer.slice(0, length));
      const parents = this.backend.parentRecords.parents(start, length < START);
      const isOld = Date.now() / 1000 - stat.changeSeconds > TICK;
      if (isOld && parents !== undefined) this.#index.add(id, versionOf(stat), parents);
      return parents;
    });
  }

  /**
   * The parent of a layer without a record, as far as the file system knows it. It never changes.
   */
  #origin(id: string, inode: bigint): readonly string[] | undefined {
    const { parentRecords } = this.backend;
    if (parentRecords.origin === undefined) return NONE;
    const version = `origin-of-${inode}`;
    const known = this.#index.parents(id, version);
    if (known !== undefined) return known;
    const origin = parentRecords.origin(id);
    if (origin === undefined) return undefined;
    const parents = origin === "" ? NONE : [origin];
    this.#index.add(id, version, parents);
    return parents;
  }
}

/** The result of one look at the layers. */
export class FoundChildren {
  readonly #ancestry: Ancestry;

  constructor(readonly backend: LayerBackend, readonly links: readonly Link[]) {
    this.#ancestry = new Ancestry((id) => backend.parent(id));
  }

  /**
   * The children of a layer.
   *
   * @param most how many to return at most: the first ones of the sorted list
   */
  of(id: string, most = Infinity): string[] {
    const names = this.backend.parentRecords.names(id);
    const candidates = this.links
      .filter(({ parents }) => parents?.some((name) => names.includes(name)) ?? true)
      .map(({ id }) => id)
      .sort();
    const children: string[] = [];
    for (const candidate of candidates) {
      if (children.length >= most) break;
      if (this.#isChild(candidate, id, names)) children.push(candidate);
    }
    return children;
  }

  /** Whether a layer has children. */
  has(id: string): boolean {
    return this.of(id, 1).length > 0;
  }

  /** Reads the record itself. A damaged layer does not prevent the removal of others. */
  #isChild(candidate: string, id: string, names: readonly string[]): boolean {
    const { backend } = this;
    try {
      if (!backend.exists(candidate)) return false;
      const parent = this.#ancestry.parent(candidate);
      if (parent !== undefined) return parent === id;
      const origin = backend.parentRecords.origin?.(candidate);
      return origin !== undefined && origin !== "" && names.includes(origin);
    } catch {
      return false;
    }
  }
}
