/**
 * The contract of a snapshotter: layers seen as work in progress that is finished under a name.
 *
 * A *snapshot* is the state of a file system. A *committed* snapshot never changes again; it has a name, and
 * others may be built on it. An *active* one is prepared on a committed parent, or on nothing, and has a key:
 * whoever mounts it sees the parent's content and may change it, and what is changed is the snapshot's own. A
 * *view* is an active snapshot that cannot be changed. Names and keys are one namespace.
 *
 * ```text
 *            prepare(key, parent)              commit(name, key)
 *  parent ───────────────────────▶ key, active ─────────────────▶ name, committed ──▶ a parent in its turn
 *     │                                 │                               │
 *     └──── view(key, parent) ──▶ key, view ──── remove(key) ───────────┴──▶ gone
 * ```
 *
 * To import an image, each of its layers is prepared on the one before, mounted, filled from its tar,
 * unmounted and committed under its chain id. To run a container, a snapshot is prepared on the image's last
 * one and mounted; removing it gives up what the container wrote, and committing it makes an image of it.
 *
 * A snapshotter mounts nothing: {@linkcode Snapshotter.mounts} says what is to be mounted, and whoever asked
 * does it, in the mount namespace of its own choice. That is why nobody counts references here.
 *
 * Every operation is seen by others as a whole or not at all, in whatever process they are, and a process that
 * is killed inside one leaves nothing behind but a note of its intention, which the next one to open the store
 * brings to an end. `lib/snapshots/snapshots.ts` says how.
 *
 * @module
 */
import type { VeneerError } from "../base/errors.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";

/** What a snapshot is. */
export type SnapshotKind = "active" | "view" | "committed";

/** Labels: what callers write on a snapshot, and read again. One with an empty value is the same as none. */
export type Labels = ReadonlyMap<string, string>;

/** What is known of a snapshot. */
export interface SnapshotInfo {
  readonly kind: SnapshotKind;
  /** The name of a committed snapshot, the key of any other. */
  readonly name: string;
  /** The parent's name; `""` if there is none. */
  readonly parent: string;
  readonly labels: Labels;
  /** When it was prepared; of a committed one, when it was committed. Microseconds since 1970. */
  readonly created: number;
  /** When its labels were last changed. Microseconds since 1970. */
  readonly updated: number;
  /** The id of the layer beneath: what the driver calls it on disk. */
  readonly layer: string;
}

/** What a snapshot adds to its parent. */
export interface Usage {
  /** Of disk space. */
  readonly bytes: number;
  readonly inodes: number;
}

/** What a snapshot is made with. */
export interface SnapshotOptions {
  readonly labels?: Labels;
}

/** What a snapshot is committed with. */
export interface CommitOptions extends SnapshotOptions {
  /**
   * Another parent than the one it was prepared on, for who learns it last; only if it was prepared
   * on none, and with a driver whose layers hold nothing of their parent's.
   */
  readonly parent?: string;
}

/** What {@linkcode Snapshotter.update} is given: the snapshot's name, and what it shall have. */
export interface SnapshotUpdate {
  readonly name: string;
  readonly labels: Labels;
}

/**
 * What a store still has of removed snapshots: nothing; layers that were not tried yet; or only those that could not
 * be deleted, and that are not tried again for a while.
 */
export type Leftovers = "none" | "more" | "stuck";

/**
 * A store of snapshots.
 *
 * Every method that takes a key or name throws {@linkcode VeneerError} `not found` for one that
 * does not exist and `invalid argument` for one that could not: empty, with a NUL, or of more than
 * 4 KiB of UTF-8. Labels are `invalid argument` if a key is empty or a label has more than 4 KiB.
 */
export interface Snapshotter {
  /** The driver's name, such as `"overlay2"`. */
  readonly driver: string;
  /** Its directory, `<root>/snapshots/<driver>`. */
  readonly home: string;

  /**
   * Makes an active snapshot on a committed one, or on none (`""`), and says how it is mounted.
   *
   * @throws `already exists` for a key or name that is taken, `not found` (parent), `invalid argument` for a
   * parent that is not committed
   */
  prepare(key: string, parent: string, options?: SnapshotOptions): Mount[];

  /** The same for a snapshot that cannot be changed; without a parent it is empty. */
  view(key: string, parent: string, options?: SnapshotOptions): Mount[];

  /** How an active snapshot or a view is mounted. @throws `failed precondition` for a committed one */
  mounts(key: string): Mount[];

  /**
   * How this process would mount it at `target`, which must exist: the same, without the limits of what a
   * list of options can say. @throws as {@linkcode mounts}
   */
  plan(key: string, target: string): MountPlan;

  /**
   * To be called before what a snapshot shows at a directory is unmounted, unless its
   * {@linkcode plan} is undone: aufs has hard links that last only then. Does nothing if nothing is
   * to be done.
   */
  beforeUnmount(target: string): void;

  /**
   * Gives an active snapshot a name, under which it never changes again; the key is gone. Labels
   * are those given here: none are taken over.
   *
   * @throws `already exists` for a name that is taken, `failed precondition` for a view or a
   * committed snapshot, `in use` if it is mounted, unless the store was opened to ignore that and
   * the driver can
   */
  commit(name: string, key: string, options?: CommitOptions): void;

  /**
   * Removes a snapshot of any kind. What cannot be deleted at once is left to {@linkcode cleanup},
   * and said in a warning.
   *
   * @throws `failed precondition` if it has children, `in use` as {@linkcode commit}
   */
  remove(key: string): void;

  /**
   * Refuses a snapshot that is mounted in whatever mount namespace, or detached and still held if
   * the kernel tells that; copies of a mount that `veneer snapshot mount` made, which a namespace
   * inherited, do not count.
   *
   * @throws `in use` with the mount point, its namespace, and a process there
   */
  checkUnused(key: string): void;

  /** Whether what is mounted at a directory, in this process's mount namespace, shows a snapshot. */
  isMountedAt(key: string, target: string): boolean;

  stat(key: string): SnapshotInfo;

  /**
   * Replaces what can be changed of a snapshot, its labels: all of them, or those that `fields` names, as
   * `labels` or `labels.<key>`; a field that is not among the given labels is removed.
   *
   * @throws `invalid argument` for any other field
   */
  update(update: SnapshotUpdate, fields?: readonly string[]): SnapshotInfo;

  /**
   * Every snapshot that one of the filters fits, sorted by name; all, if there is no filter. The
   * language of filters is told in `snapshots/filter.ts`. @throws `invalid argument` for what is no
   * filter
   */
  walk(filters?: readonly string[]): Iterable<SnapshotInfo>;

  /** What a snapshot adds. Of an active one it is counted anew each time, of a committed one once. */
  usage(key: string): Usage;

  /**
   * Deletes what was removed and is still on disk, and waits for others that are at it; returns
   * what it did.
   *
   * @param failed told of each thing that could not be done, which keeps it from no other; if it is
   * left out, warnings say so
   */
  cleanup(failed?: (error: VeneerError) => void): string[];

  /**
   * Deletes what removed snapshots left on disk, in a store that was opened to leave that for later; in any other,
   * what could not be deleted at once.
   *
   * @param isEnough is asked before each layer, and ends this
   */
  deleteRemoved(isEnough?: () => boolean): Leftovers;

  /** Closes the store; a second time it does nothing. */
  close(): void;

  /** The name of a committed snapshot's parent, `""` for none. */
  parent(name: string): string;

  /** Whether there is a committed snapshot of that name. */
  exists(name: string): boolean;

  /** Removes a committed snapshot. @throws as {@linkcode remove}, and `failed precondition` for an active one */
  delete(name: string): void;

  /** The keys of all snapshots that are not committed, sorted. */
  active(): string[];
}
