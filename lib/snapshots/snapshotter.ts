/**
 * The contract of a snapshotter: layers that are changed under a key and then committed under a
 * name.
 *
 * A *snapshot* is the state of a file system. A *committed* snapshot never changes; it has a name,
 * and others may be built on it. An *active* one is prepared on a committed parent, or on none, and
 * has a key: its mount shows the parent's content, and changes belong only to the snapshot. A
 * *view* is like an active snapshot, but cannot be changed. Names and keys are in one namespace.
 *
 * ```text
 *            prepare(key, parent)              commit(name, key)
 *  parent ───────────────────────▶ key, active ─────────────────▶ name, committed ──▶ a parent in its turn
 *     │                                 │                               │
 *     └──── view(key, parent) ──▶ key, view ──── remove(key) ───────────┴──▶ gone
 * ```
 *
 * To import an image, a snapshot is prepared for each of its layers on that of the layer before,
 * mounted, filled from the layer's tar, unmounted and committed under the layer's chain id. To run
 * a container, a snapshot is prepared on the image's last one and mounted. Removing it discards the
 * container's changes, and committing it makes a new image layer of them.
 *
 * {@linkcode Snapshotter.mounts} returns mounts, which an engine makes in the mount namespace of
 * its choice, so a snapshotter counts no references. {@linkcode Snapshotter.mount} is for programs
 * without an engine: it mounts a writable snapshot at most once.
 *
 * Every operation is atomic for all processes. A process killed inside an operation leaves only a
 * record of its intent, and the next opening of the store finishes the work.
 * `lib/snapshots/snapshots.ts` explains how.
 *
 * @module
 */
import type { VeneerError } from "../base/errors.ts";
import type { FileArgument } from "../base/descriptors.ts";
import type { IdMaps } from "../base/id_maps.ts";
import type { OpenStore } from "../base/opened.ts";
import type { TransferOptions } from "../base/transfer_options.ts";
import type { ChangeIterator } from "../tree/changes.ts";
import type { Mount } from "../mount/plan.ts";

/** The kinds of snapshots. */
export type SnapshotKind = "active" | "view" | "committed";

/** Labels: texts that callers store with a snapshot. There are no labels with an empty value. */
export type Labels = ReadonlyMap<string, string>;

/** A snapshot as callers see it. */
export interface SnapshotInfo {
  /** Active, a view or committed. */
  readonly kind: SnapshotKind;
  /** The name of a committed snapshot; the key of any other. */
  readonly name: string;
  /** The parent's name; `""` if there is none. */
  readonly parent: string;
  /** The labels, with those that the driver publishes. */
  readonly labels: Labels;
  /**
   * The time at which it was prepared or, if it is committed, committed; in microseconds since
   * 1970.
   */
  readonly created: number;
  /** The time of the last change of its labels, in microseconds since 1970. */
  readonly updated: number;
  /** The id of its layer: the driver's name for it on disk. */
  readonly layer: string;
  /**
   * Present if a tar was not applied to its end: then it can only be removed, or a tar applied to
   * it again.
   */
  readonly incomplete?: true;
}

/** The space that a snapshot adds to its parent. */
export interface Usage {
  /** Bytes of disk space. */
  readonly bytes: number;
  /** Files, directories and other entries. */
  readonly inodes: number;
}

/** The space of a snapshot, and the time for which the count may be used again. */
export interface AgedUsage {
  /** The space, as it was just counted. */
  readonly usage: Usage;
  /** The time in milliseconds; 0 if the count must not be used again. */
  readonly age: number;
}

/** Options of a new snapshot. */
export interface SnapshotOptions {
  /** None by default. */
  readonly labels?: Labels;
}

/** Options of a mount. */
export interface SnapshotMountOptions {
  /**
   * Map ids: the files are seen, and written, with host ids, and have the container's on disk. None
   * by default; not in a store that is opened with maps.
   */
  readonly idMaps?: IdMaps;
}

/** Options of a commit. */
export interface CommitOptions extends SnapshotOptions {
  /**
   * The parent to commit on, for callers that learn it only now. Requires a snapshot prepared
   * without a parent and a driver that `rebases`.
   */
  readonly parent?: string;
  /**
   * Whether the record is on disk when the commit returns, even in a store that is opened to write
   * records out later.
   */
  readonly sync?: boolean;
}

/** Options of reading a snapshot's changes as a tar. */
export interface DiffOptions extends TransferOptions {
  /** The committed snapshot to compare with, `""` for none; by default the snapshot's parent. */
  readonly parent?: string;
}

/** The argument of {@linkcode Snapshotter.update}: the snapshot's name and its new labels. */
export interface SnapshotUpdate {
  /** A name or key. */
  readonly name: string;
  /** The new labels. */
  readonly labels: Labels;
}

/**
 * The layers of removed snapshots that are still on disk: none (`none`), some that were not tried
 * yet (`more`), or only some that could not be deleted and are not retried for a while (`stuck`).
 */
export type Leftovers = "none" | "more" | "stuck";

/**
 * A store of snapshots.
 *
 * Every method that takes a key or name throws {@linkcode VeneerError} `not found` if it does not
 * exist, and `invalid argument` if it is empty, has a NUL, or has more than 4 KiB of UTF-8. Labels
 * are `invalid argument` if a key is empty or a label has more than 4 KiB.
 */
export interface Snapshotter extends OpenStore {
  /**
   * Whether the mounts of a snapshot stay the same until it is committed or removed, and need no
   * preparation.
   */
  readonly mountsStay: boolean;

  /**
   * Creates an active snapshot on a committed one, or on none (`""`), and returns its mounts.
   *
   * @throws `already exists` for a key or name that is taken, `not found` (parent),
   * `invalid argument` for a parent that is not committed
   */
  prepare(key: string, parent: string, options?: SnapshotOptions): Mount[];

  /** The same for a snapshot that cannot be changed. Without a parent it is empty. */
  view(key: string, parent: string, options?: SnapshotOptions): Mount[];

  /**
   * The mounts of an active snapshot or a view.
   *
   * @throws `failed precondition` for a committed snapshot
   */
  mounts(key: string): Mount[];

  /**
   * Mounts an active snapshot or a view in this process's mount namespace. Returns the path of its
   * root, without symbolic links. The mount stays until it is unmounted, even after the end of this
   * process.
   *
   * @param directory the mount point; by default a directory below the home, which is removed with
   * the mount
   * @throws `in use` if it is already mounted there or, if it is writable, anywhere, or if the
   * directory is already a mount point; `invalid argument` for a path that is not a directory;
   * `failed precondition` for a committed snapshot; `not supported` if ids
   * cannot be mapped
   */
  mount(key: string, directory?: string, options?: SnapshotMountOptions): string;

  /**
   * Unmounts a snapshot that is mounted below the home. Returns the path of the mount point.
   *
   * @throws `failed precondition` if it is not mounted there, `in use` if the mount is busy
   */
  unmount(key: string): string;

  /**
   * Unmounts the snapshot that is mounted at a directory. Returns the directory's path, without
   * symbolic links.
   *
   * @throws as {@linkcode unmount}
   */
  unmountAt(directory: string): string;

  /**
   * Commits an active snapshot under a name. It never changes again, and its key no longer exists.
   * Its labels are those given here; the labels of the key are dropped.
   *
   * @throws `already exists` if the name is taken, `failed precondition` for a view or a committed
   * snapshot, `in use` if it is mounted, unless the store was opened to ignore mounts and the
   * driver supports that
   */
  commit(name: string, key: string, options?: CommitOptions): void;

  /**
   * Applies a tar, which may be compressed with gzip or zstd, to an active snapshot. After a
   * failure the snapshot is empty and incomplete. Returns the bytes of the applied files.
   *
   * @throws `in use` if it is mounted or in another transfer, `failed precondition` if it is not
   * active
   */
  applyDiff(key: string, input: FileArgument, options?: TransferOptions): number;

  /**
   * Writes the changes of a snapshot of any kind against its parent as a tar. Returns the bytes
   * written. If programs write to an active snapshot meanwhile, the tar is a mixture of states.
   *
   * @throws `failed precondition` for an incomplete snapshot
   */
  diff(key: string, output: FileArgument, options?: DiffOptions): number;

  /**
   * The same changes, sorted by path, each directory before its content. The snapshot cannot be
   * removed until the last change is read, the loop over them ends, or the iterator is disposed of.
   *
   * @param parent as {@linkcode DiffOptions.parent}
   */
  changes(key: string, parent?: string): ChangeIterator;

  /**
   * Removes a snapshot of any kind. If its layer cannot be deleted at once, there is a warning, and
   * {@linkcode cleanup} deletes it later.
   *
   * @throws `failed precondition` if it has children or is the uppermost layer of an image, `in
   * use` as {@linkcode commit}
   */
  remove(key: string): void;

  /**
   * Opens the root of a committed snapshot's files for a repair, if layers are devices: through a mount that is
   * attached nowhere and may write even if others stand on it. Otherwise `undefined`: then the files
   * are in a directory of the home. The caller keeps the snapshot from being used.
   *
   * @param scope unmounts it
   * @param isRead whether it is only read; false by default
   * @throws `in use` if it is mounted
   */
  openFiles(name: string, scope: DisposableStack, isRead?: boolean): number | undefined;

  /** The properties of a snapshot. */
  stat(key: string): SnapshotInfo;

  /**
   * Replaces the labels of a snapshot: all of them by default and if `fields` has `labels`, or else
   * the ones in `fields`, each as `labels.<key>`. A label in `fields` that is not among the given
   * labels is removed.
   *
   * @throws `invalid argument` for any other field
   */
  update(update: SnapshotUpdate, fields?: readonly string[]): SnapshotInfo;

  /**
   * All snapshots that match one of the filters, sorted by name; all snapshots if there is no
   * filter. `snapshots/filter.ts` describes the language of filters. @throws `invalid argument` for
   * an invalid filter
   */
  walk(filters?: readonly string[]): Iterable<SnapshotInfo>;

  /**
   * Identifies the state of all records: it changes with every change, by any process. If it was
   * read before a {@linkcode walk} and is still the same, the result of the walk is still right.
   */
  readonly version: string;

  /**
   * The space that a snapshot adds to its parent. That of an active one is counted at each call,
   * that of a committed one only once.
   */
  usage(key: string): Usage;

  /**
   * The same for a service that is asked often, with a time according to the option `usage.age`.
   */
  agedUsage(key: string): AgedUsage;

  /**
   * Refuses a snapshot that is mounted in any mount namespace, or whose detached mount is still
   * used, if the kernel reports that. Copies of Veneer's mounts that a namespace inherited do not
   * count.
   *
   * @throws `in use` with the mount point, its namespace, and a process in that
   */
  checkUnused(key: string): void;

  /**
   * Deletes layers of removed snapshots that are still on disk, and waits for other processes that
   * do so. Unmounts mounts below the home whose snapshot was removed. Releases the home. Returns a
   * line for each act.
   *
   * @param failed gets each failure, after which the work continues; by default failures are
   * warnings
   */
  cleanup(failed?: (error: VeneerError) => void): string[];

  /**
   * Deletes layers of removed snapshots: all of them in a store that is opened to delete them
   * later, and in others those that could not be deleted at once.
   *
   * @param isEnough called before each layer; returns true to stop
   */
  deleteRemoved(isEnough?: () => boolean): Leftovers;

  /** The name of a committed snapshot's parent; `""` for none. */
  parent(name: string): string;

  /** Whether there is a committed snapshot with this name. */
  exists(name: string): boolean;

  /**
   * Removes a committed snapshot.
   *
   * @throws as {@linkcode remove}, and `failed precondition` for a snapshot that is not committed
   */
  delete(name: string): void;

  /** The sorted keys of all snapshots that are not committed. */
  active(): string[];
}
