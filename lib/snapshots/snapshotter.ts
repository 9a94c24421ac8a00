/**
 * The contract of a snapshotter: layers as work in progress that is finished under a name.
 *
 * A *snapshot* is the state of a file system. A *committed* snapshot never changes again; it has a
 * name, and others may be built on it. An *active* one is prepared on a committed parent, or on
 * nothing, and has a key: its mount shows the parent's content, and changes to it belong to the
 * snapshot alone. A *view* is an active snapshot that cannot be changed. Names and keys are one
 * namespace.
 *
 * ```text
 *            prepare(key, parent)              commit(name, key)
 *  parent ───────────────────────▶ key, active ─────────────────▶ name, committed ──▶ a parent in its turn
 *     │                                 │                               │
 *     └──── view(key, parent) ──▶ key, view ──── remove(key) ───────────┴──▶ gone
 * ```
 *
 * To import an image, each of its layers is prepared on the one before, mounted, filled from its
 * tar, unmounted and committed under its chain id. To run a container, a snapshot is prepared on
 * the image's last one and mounted; removing it discards the container's changes, and committing it
 * makes an image of them.
 *
 * {@linkcode Snapshotter.mounts} returns mounts, which an engine performs in the mount namespace of
 * its choice; so a snapshotter counts no references. {@linkcode Snapshotter.mount} is for programs
 * without an engine: a writable snapshot is mounted at most once.
 *
 * Every operation is atomic for all processes. A process killed inside one leaves only a record of
 * its intent, which the next opening of the store finishes. `lib/snapshots/snapshots.ts` explains
 * how.
 *
 * @module
 */
import type { VeneerError } from "../base/errors.ts";
import type { FileArgument } from "../base/descriptors.ts";
import type { OpenStore } from "../base/opened.ts";
import type { TransferOptions } from "../base/transfer_options.ts";
import type { ChangeIterator } from "../tree/changes.ts";
import type { Mount } from "../mount/plan.ts";

/** The kinds of snapshots. */
export type SnapshotKind = "active" | "view" | "committed";

/**
 * Labels: texts that callers set on a snapshot and read again. A label with an empty value does not
 * exist.
 */
export type Labels = ReadonlyMap<string, string>;

/** A snapshot as callers see it. */
export interface SnapshotInfo {
  /** Active, a view or committed. */
  readonly kind: SnapshotKind;
  /** The name of a committed snapshot, the key of any other. */
  readonly name: string;
  /** The parent's name; `""` if there is none. */
  readonly parent: string;
  /** The labels, with those that the driver publishes. */
  readonly labels: Labels;
  /** The time when it was prepared or, for a committed one, committed. Microseconds since 1970. */
  readonly created: number;
  /** The time of the last change of its labels. Microseconds since 1970. */
  readonly updated: number;
  /** The id of its layer: the driver's name for it on disk. */
  readonly layer: string;
  /** Present if a tar was not applied to its end: it can only be removed or applied to again. */
  readonly incomplete?: true;
}

/** The space that a snapshot adds to its parent. */
export interface Usage {
  /** Bytes of disk space. */
  readonly bytes: number;
  /** Files, directories and other entries. */
  readonly inodes: number;
}

/** The space of a snapshot, and the time for which it may be told again. */
export interface AgedUsage {
  /** As counted now. */
  readonly usage: Usage;
  /** In milliseconds; 0 if it is to be asked for each time. */
  readonly age: number;
}

/** Options of a new snapshot. */
export interface SnapshotOptions {
  /** None by default. */
  readonly labels?: Labels;
}

/** Options of a commit. */
export interface CommitOptions extends SnapshotOptions {
  /**
   * The parent to commit on, for callers that learn it only now. Requires a snapshot prepared
   * without a parent and a driver that `rebases`.
   */
  readonly parent?: string;
  /**
   * Whether its record is on disk when it returns, also in a store that is opened to write records
   * out later.
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
 * The layers of removed snapshots that are still on disk: none; some that were not tried yet; or
 * only some that could not be deleted and are not retried for a while.
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
   * Whether the mounts of a snapshot are the same, and need nothing done before they are made, as
   * long as it is neither committed nor removed.
   */
  readonly mountsStay: boolean;

  /**
   * Creates an active snapshot on a committed one, or on none (`""`), and returns its mounts.
   *
   * @throws `already exists` for a key or name that is taken, `not found` (parent),
   * `invalid argument` for a parent that is not committed
   */
  prepare(key: string, parent: string, options?: SnapshotOptions): Mount[];

  /** The same for a snapshot that cannot be changed; without a parent it is empty. */
  view(key: string, parent: string, options?: SnapshotOptions): Mount[];

  /**
   * The mounts of an active snapshot or a view.
   *
   * @throws `failed precondition` for a committed one
   */
  mounts(key: string): Mount[];

  /**
   * Mounts an active snapshot or a view in this process's mount namespace; returns the path of its
   * root, without symbolic links. The mount stays until it is unmounted, also after the end of this
   * process.
   *
   * @param directory the mount point; by default a directory below the home, which is removed with
   * the mount
   * @throws `in use` if it is mounted there or, if it is writable, anywhere, or if the directory is
   * a mount point already; `invalid argument` for a path that is not a directory;
   * `failed precondition` for a committed snapshot
   */
  mount(key: string, directory?: string): string;

  /**
   * Unmounts a snapshot that is mounted below the home; returns the path of the mount point.
   *
   * @throws `failed precondition` if it is not mounted there, `in use` if the mount is busy
   */
  unmount(key: string): string;

  /**
   * Unmounts the snapshot that is mounted at a directory; returns the directory's path, without
   * symbolic links.
   *
   * @throws as {@linkcode unmount}
   */
  unmountAt(directory: string): string;

  /**
   * Gives an active snapshot a name, under which it never changes again; the key is gone. Its
   * labels are those given here; labels of the key are dropped.
   *
   * @throws `already exists` if the name is taken, `failed precondition` for a view or a committed
   * snapshot, `in use` if it is mounted, unless the store was opened to ignore mounts and the
   * driver supports that
   */
  commit(name: string, key: string, options?: CommitOptions): void;

  /**
   * Applies a tar, plain, gzip or zstd, to an active snapshot, all or nothing: after a failure the
   * snapshot is incomplete. Returns the bytes of the files applied.
   *
   * @throws `in use` if it is mounted or transferred, `failed precondition` for a snapshot that is
   * not active
   */
  applyDiff(key: string, input: FileArgument, options?: TransferOptions): number;

  /**
   * Writes the changes of a snapshot of any kind to its parent as a tar; returns bytes written. An
   * active one that is written to meanwhile gives a mixture.
   *
   * @throws `failed precondition` for an incomplete one
   */
  diff(key: string, output: FileArgument, options?: DiffOptions): number;

  /**
   * The same changes, sorted by path, each directory before its content. The snapshot is not
   * removed until the last change was read, the loop over them ended, or the iterator was disposed
   * of.
   *
   * @param parent as {@linkcode DiffOptions.parent}
   */
  changes(key: string, parent?: string): ChangeIterator;

  /**
   * Removes a snapshot of any kind. If its layer cannot be deleted at once, that is a warning, and
   * the layer is left to {@linkcode cleanup}.
   *
   * @throws `failed precondition` if it has children, `in use` as {@linkcode commit}
   */
  remove(key: string): void;

  /** The properties of a snapshot. */
  stat(key: string): SnapshotInfo;

  /**
   * Replaces the labels of a snapshot: all of them, or those that `fields` names, as `labels` or
   * `labels.<key>`; a field that is not among the given labels is removed.
   *
   * @throws `invalid argument` for any other field
   */
  update(update: SnapshotUpdate, fields?: readonly string[]): SnapshotInfo;

  /**
   * Every snapshot that matches one of the filters, sorted by name; all snapshots if there is no
   * filter. `snapshots/filter.ts` describes the language of filters. @throws `invalid argument` for
   * an invalid filter
   */
  walk(filters?: readonly string[]): Iterable<SnapshotInfo>;

  /**
   * Stands for all records as they are: it is another one after any change, by whichever process.
   * If it is read before a {@linkcode walk} and is the same later, the walk is still right.
   */
  readonly version: string;

  /**
   * The space that a snapshot adds: of an active one counted at each call, of a committed one once.
   */
  usage(key: string): Usage;

  /** The same for a service that is asked often, as the option `usage.age` has it. */
  agedUsage(key: string): AgedUsage;

  /**
   * Refuses a snapshot that is mounted in any mount namespace, or detached and still held if the
   * kernel reports that; copies of Veneer's mounts, which a namespace inherited, do not count.
   *
   * @throws `in use` with the mount point, its namespace, and a process there
   */
  checkUnused(key: string): void;

  /**
   * Deletes layers of removed snapshots that are still on disk, and waits for other processes that
   * do so; unmounts mounts below the home whose snapshot is gone; releases the home. Returns a line
   * for each act.
   *
   * @param failed gets each failure, after which the others are still processed; without it,
   * failures are warnings
   */
  cleanup(failed?: (error: VeneerError) => void): string[];

  /**
   * Deletes layers of removed snapshots: in a store opened to delete them later, all of them; in
   * any other, those that could not be deleted at once.
   *
   * @param isEnough is called before each layer and returns true to stop
   */
  deleteRemoved(isEnough?: () => boolean): Leftovers;

  /** The name of a committed snapshot's parent, `""` for none. */
  parent(name: string): string;

  /** Whether there is a committed snapshot of that name. */
  exists(name: string): boolean;

  /**
   * Removes a committed snapshot.
   *
   * @throws as {@linkcode remove}, and `failed precondition` for an active one
   */
  delete(name: string): void;

  /** The keys of all snapshots that are not committed, sorted. */
  active(): string[];
}
