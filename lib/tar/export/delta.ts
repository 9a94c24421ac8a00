/**
 * A layer's changes against a parent, open for reading.
 *
 * There are three kinds of sources: a driver's upper directory, a driver's list, or the comparison
 * of two mounted trees. All three give the same changes and the same tar.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY, reopen, withFd } from "../../../ffi/files.ts";
import { tryCloneMount } from "../../../ffi/fsmount.ts";
import { fstat, Stat } from "../../../ffi/stat.ts";
import { fgetxattr } from "../../../ffi/xattr.ts";
import type { Change } from "../../tree/changes.ts";
import { compareTrees } from "../../tree/compare.ts";
import { openTree, type TreePlace } from "../../tree/confined.ts";
import { exportChanges, type ExportOptions, exportTree } from "./export.ts";
import { TreeCursor } from "../../tree/tree_cursor.ts";
import { upperChanges } from "../../tree/upper_changes.ts";
import { isOfLayer, xattrNames } from "../../tree/xattr_names.ts";

/**
 * The source of a layer's own changes, if they can be read without comparing trees:
 * - `upper`: a directory of changes and whiteouts over lowers, uppermost first;
 * - `listed`: the kernel lists the changes, and `root` is the whole tree to read them from.
 */
export type NativeDiff =
  | {
    readonly kind: "upper";
    readonly upper: TreePlace;
    readonly lowers: readonly TreePlace[];
    readonly form: "overlay" | "aufs";
  }
  | {
    readonly kind: "listed";
    readonly root: TreePlace;
    /** The parent's tree; absent for a base layer. */
    readonly parentRoot: TreePlace | undefined;
    readonly changes: () => Iterable<Change>;
  };

/** The changes and the files to read them from. */
export interface Delta {
  /** The directory that holds the added and changed entries. */
  readonly root: TreePlace;
  /** In the order of `comparePaths`. */
  changes(): Iterable<Change>;
  /** Writes the changes as a tar; returns bytes written. */
  export(output: number, options: ExportOptions): number;
}

/** The changes that the driver itself provides. */
export function nativeDelta(native: NativeDiff): Delta {
  return native.kind === "upper" ? upperDelta(native) : listedDelta(native);
}

function upperDelta({ upper, lowers, form }: NativeDiff & { kind: "upper" }): Delta {
  return {
    root: upper,
    *changes() {
      using directories = new Directories();
      yield* upperChanges(
        directories.open(upper),
        lowers.map((lower) => () => openRoot(lower)),
        form,
      );
    },
    export(output, options) {
      using directories = new Directories();
      const includeRoot = rootDiffers(upper, lowers.at(0));
      const upperDirectory = directories.open(upper);
      return exportTree(upperDirectory, output, form, { ...options, includeRoot, lowers });
    },
  };
}

function listedDelta(native: NativeDiff & { kind: "listed" }): Delta {
  return {
    root: native.root,
    changes: () => native.changes(),
    export: (output, options) =>
      exportListed(native.root, native.parentRoot, native.changes(), output, options),
  };
}

/** The changes between two complete trees; without a parent, the whole child. */
export function treeDelta(root: TreePlace, parentRoot: TreePlace | undefined): Delta {
  function* changes(): Iterable<Change> {
    using directories = new Directories();
    const parent = parentRoot === undefined ? undefined : directories.open(parentRoot);
    yield* compareTrees(parent, directories.open(root));
  }
  return {
    root,
    changes,
    export(output, options) {
      if (parentRoot !== undefined) {
        return exportListed(root, parentRoot, changes(), output, options);
      }
      using directories = new Directories();
      const includeRoot = rootDiffers(root, undefined);
      return exportTree(directories.open(root), output, "none", { ...options, includeRoot });
    },
  };
}

function exportListed(
  root: TreePlace,
  parentRoot: TreePlace | undefined,
  changes: Iterable<Change>,
  output: number,
  options: ExportOptions,
): number {
  using directories = new Directories();
  const includeRoot = rootDiffers(root, parentRoot);
  return exportChanges(directories.open(root), changes, output, { ...options, includeRoot });
}

/** Bytes of the files that changes name; a file of several names counts once. */
export function sizeOf(delta: Delta): number {
  using directories = new Directories();
  using cursor = new TreeCursor(directories.open(delta.root));
  const stat = new Stat();
  const linked = new Set<bigint>();
  let size = 0;
  for (const { kind, path } of delta.changes()) {
    if (kind === "D" || cursor.tryStat(path, stat) < 0 || !stat.isFile) continue;
    if (stat.links > 1) {
      if (linked.has(stat.inode)) continue;
      linked.add(stat.inode);
    }
    size += stat.size;
  }
  return size;
}

const READ = O_RDONLY | O_DIRECTORY;

/** The default of a layer's root: 0755, owned by root, without attributes. */
const PLAIN_ROOT = "755 0 0";

/**
 * Whether a root's own mode, owner or attributes differ from its parent's, so that a tar must carry
 * them.
 */
function rootDiffers(root: TreePlace, parent: TreePlace | undefined): boolean {
  return describeRoot(root) !== (parent === undefined ? PLAIN_ROOT : describeRoot(parent));
}

function describeRoot(place: TreePlace): string {
  return withFd(openTree(place, READ), (fd) => {
    const { mode, uid, gid } = fstat(fd);
    const xattrs = xattrNames(fd).names.filter(isOfLayer)
      .map((name) => `${name}=${fgetxattr(fd, name)}`);
    return [(mode & 0o7777).toString(8), uid, gid, ...xattrs].join(" ");
  });
}

/** Changes that are read one by one. The layer is held until the last one, or until disposal. */
export class OpenChanges extends Iterator<Change, undefined, unknown> implements Disposable {
  readonly #scope: DisposableStack;
  readonly #changes: Iterator<Change>;

  constructor(delta: Delta, scope: DisposableStack) {
    super();
    this.#scope = scope;
    this.#changes = delta.changes()[Symbol.iterator]();
  }

  override next(): IteratorResult<Change, undefined> {
    if (this.#scope.disposed) return { done: true, value: undefined };
    try {
      const { done, value } = this.#changes.next();
      if (!done) return { done, value };
    } catch (error) {
      this.#scope.dispose();
      throw error;
    }
    this.#scope.dispose();
    return { done: true, value: undefined };
  }

  /** Called if a loop ends early. */
  override return(): IteratorResult<Change, undefined> {
    try {
      this.#changes.return?.();
    } finally {
      this.#scope.dispose();
    }
    return { done: true, value: undefined };
  }

  override [Symbol.dispose](): void {
    this.return();
  }
}

/** Directories that are open together and closed together. */
class Directories implements Disposable {
  readonly #fds: number[] = [];

  /** Opens a layer's root; see {@linkcode openRoot}. */
  open(place: TreePlace): number {
    const fd = openRoot(place);
    this.#fds.push(fd);
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.reverse()) close(fd);
  }
}

/**
 * Opens a layer's root by a copy of its mount without the mounts below: a running container's
 * volumes are not part of its layer, and the files that they hide are.
 *
 * If the kernel grants no copy, {@linkcode DirectoryStack} refuses to go into a mount.
 *
 * @returns one descriptor, which keeps the copy as long as it is open; the caller closes it
 */
function openRoot(place: TreePlace): number {
  const fd = openTree(place, READ);
  const copy = tryCloneMount(fd);
  if (copy < 0) return fd;
  close(fd);
  return withFd(copy, () => reopen(copy, READ));
}
