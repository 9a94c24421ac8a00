/**
 * Compares the damaged tree of a layer with the right one, and restores it entry by entry.
 *
 * Entries that differ are moved over, or copied if there is no rename: between subvolumes, from
 * another directory, and between devices. Those that they replace go to the quarantine. After a
 * kill each entry is as it was, as it should be, or missing, and the next run continues.
 *
 * @module
 */
import { setReadOnly } from "../../ffi/btrfs_subvolume.ts";
import { EXDEV } from "../../ffi/errno.ts";
import { close, syncfs, withFd } from "../../ffi/files.ts";
import { fchmod, fchown, RENAME_NOREPLACE, Times, tryFutimens } from "../../ffi/names.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import type { Change } from "../tree/changes.ts";
import { compareTrees } from "../tree/compare.ts";
import {
  type ConfinedPath,
  exists,
  isDirectory,
  list,
  lstat,
  makeDirectory,
  openDirectory,
  removeTree,
  rename,
  tryInParent,
  tryLstat,
  tryRename,
  tryUnlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { copyDirectoryUp, copyEntryUp } from "../tree/copy_up.ts";
import { makeOwned } from "../tree/make_owned.ts";
import type { Quarantine } from "./quarantine.ts";

/** An entry that was restored. */
export interface Restored {
  /** From the layer's root, with a leading `/`. */
  readonly path: string;
  /** Whether it was missing, differed, or was not in the source. */
  readonly fault: "missing" | "damaged" | "added";
}

/** The restored entries, and the directory of the replaced ones. */
export interface Restoration {
  readonly restored: readonly Restored[];
  readonly quarantine: string | undefined;
}

/** A damaged tree and the right one. */
export interface TreePair {
  readonly right: ConfinedPath;
  readonly damaged: ConfinedPath;
  /** The place of the damaged tree's entries in the quarantine. */
  readonly place: string;
  /** Whether entries that are not in the right tree are damage. */
  readonly hasRecord: boolean;
  /** Whether the damaged tree is a subvolume that is read-only, but for a restoration. */
  readonly isSealed: boolean;
}

/** Compares a damaged tree with the right one, and restores it. */
export class Restoring {
  readonly #times = new Times();
  readonly #restored: Restored[] = [];
  /** The last directory that was moved over with all below it. */
  #done: string | undefined;
  /**
   * The copied directories, with their originals. Their times are set last, since they change while
   * entries are added.
   */
  readonly #copied: [copy: ConfinedPath, original: ConfinedPath][] = [];

  constructor(readonly pair: TreePair, readonly quarantine: Quarantine) {}

  /** @param id the layer's, for the journal */
  run(id: string, isDry: boolean): Restoration {
    const { right, damaged } = this.pair, { quarantine } = this;
    if (!isDirectory(damaged)) return this.#whole(id, isDry);
    const changes = withFd(
      openDirectory(damaged),
      (old) => withFd(openDirectory(right), (now) => [...compareTrees(old, now)]),
    );
    const wanted = changes.filter((change) => this.#isDamage(change));
    for (const change of wanted) this.#restored.push({ path: change.path, fault: faultOf(change) });
    if (isDry || wanted.length === 0) return { restored: this.#restored, quarantine: undefined };
    for (const { path, fault } of this.#restored) {
      const file = `${damaged}${path}`, what = `is ${fault}`;
      quarantine.journal.repairs.push({ kind: "content", layer: id, file, what, steps: [] });
    }
    quarantine.write();
    // A file must be on disk before its name is.
    withFd(openDirectory(right), (fd) => syncfs(fd, right.text));
    this.#seal(false);
    try {
      for (const change of wanted) this.#restore(change);
      this.#setTimesOf(this.#copied);
      withFd(openDirectory(damaged), (fd) => syncfs(fd, damaged.text));
    } finally {
      this.#seal(true);
    }
    quarantine.finish();
    return { restored: this.#restored, quarantine: quarantine.path.text };
  }

  /** After a kill in between, a check finds the subvolume writable, and a repair seals it. */
  #seal(readOnly: boolean): void {
    const { damaged, isSealed } = this.pair;
    if (isSealed) withFd(openDirectory(damaged), (fd) => setReadOnly(fd, readOnly));
  }

  /**
   * A directory is also reported as changed if only an entry below it is; then it is not damaged.
   */
  #isDamage({ kind, path }: Change): boolean {
    const { damaged, right, hasRecord } = this.pair;
    if (kind === "A") return true;
    if (kind === "D") return hasRecord;
    const [old, now] = [damaged, right].map((root) => lstat(below(root, path), new Stat()));
    // The times of whiteouts are those of their apply.
    if ([old, now].every((stat) => isWhiteout(stat, path))) return false;
    return !old.isDirectory || !now.isDirectory || old.mode !== now.mode || old.uid !== now.uid ||
      old.gid !== now.gid;
  }

  #whole(id: string, isDry: boolean): Restoration {
    const { damaged, right, place, isSealed } = this.pair, { quarantine } = this;
    const restored: Restored[] = [{ path: "/", fault: "missing" }];
    if (isDry) return { restored, quarantine: undefined };
    if (isSealed && right.root !== damaged.root) {
      throw new VeneerError(
        "not supported",
        `${damaged} is missing, and a subvolume is not made from a directory; name the layer's tar`,
      );
    }
    quarantine.write();
    withFd(openDirectory(right), (fd) => syncfs(fd, right.text));
    makeDirectory(damaged.parent, 0o700);
    if (exists(damaged)) rename(damaged, quarantine.place(place), RENAME_NOREPLACE);
    if (right.root !== damaged.root) {
      const { mode, uid, gid } = lstat(right);
      makeOwned(damaged, mode & 0o7777, uid, gid);
      return this.run(id, false);
    }
    // The new layer's own entry is left for the removal of that layer.
    rename(right, damaged, RENAME_NOREPLACE);
    this.#seal(true);
    withFd(openDirectory(damaged), (fd) => syncfs(fd, damaged.text));
    quarantine.finish();
    return { restored, quarantine: quarantine.path.text };
  }

  #restore({ kind, path }: Change): void {
    if (this.#done !== undefined && path.startsWith(`${this.#done}/`)) return;
    const old = below(this.pair.damaged, path), now = below(this.pair.right, path);
    this.#keepingTimes(old.parent, () => {
      if (kind === "D") return this.#aside(old, path);
      const stat = lstat(now), before = tryLstat(old);
      if (stat.isDirectory && before?.isDirectory) return setOwner(old, now);
      // The old entry is in the quarantine before anything stands in its place.
      if (before !== undefined) this.#aside(old, path);
      const result = now.root === old.root ? tryRename(now, old, RENAME_NOREPLACE) : -EXDEV;
      if (result === -EXDEV) return this.#copy(old, now);
      unwrapConfined(result, "rename", old);
      if (stat.isDirectory) this.#done = path;
    });
  }

  /** Moves an entry into the quarantine; if there is no rename, its copy is complete first. */
  #aside(old: ConfinedPath, path: string): void {
    const place = this.quarantine.place(`${this.pair.place}${path}`);
    const result = old.root === place.root ? tryRename(old, place, RENAME_NOREPLACE) : -EXDEV;
    if (result !== -EXDEV) return void unwrapConfined(result, "rename", old);
    this.#copyTree(old, place);
    if (lstat(old).isDirectory) removeTree(old);
    else unwrapConfined(tryUnlink(old), "unlink", old);
  }

  #copyTree(from: ConfinedPath, to: ConfinedPath): void {
    const copied: [copy: ConfinedPath, original: ConfinedPath][] = [];
    const left: [from: ConfinedPath, to: ConfinedPath][] = [[from, to]];
    for (let next; (next = left.pop());) {
      const [from, to] = next;
      copyTo(from, to);
      if (!isDirectory(from)) continue;
      copied.push([to, from]);
      for (const name of list(from)) left.push([from.join(name), to.join(name)]);
    }
    this.#setTimesOf(copied);
  }

  /**
   * Replaces an entry by a copy, if there is no rename: between subvolumes or devices, and from
   * another directory.
   */
  #copy(old: ConfinedPath, now: ConfinedPath): void {
    copyTo(now, old);
    if (isDirectory(old)) this.#copied.push([old, now]);
  }

  /** Sets the times of copied directories to those of their originals, the lowest first. */
  #setTimesOf(copied: readonly [copy: ConfinedPath, original: ConfinedPath][]): void {
    for (const [copy, original] of copied.toReversed()) {
      const stat = lstat(original);
      withFd(openDirectory(copy), (fd) => this.#setTimes(fd, stat));
    }
  }

  /** Keeps the times of a directory while an entry in it is changed. */
  #keepingTimes(directory: ConfinedPath, act: () => void): void {
    withFd(openDirectory(directory), (fd) => {
      const before = fstat(fd, new Stat());
      act();
      this.#setTimes(fd, before);
    });
  }

  #setTimes(fd: number, { accessSeconds, accessNanos, seconds, nanos }: Stat): void {
    tryFutimens(fd, this.#times.set(accessSeconds, accessNanos, seconds, nanos));
  }
}

function isWhiteout(stat: Stat, path: string): boolean {
  if (stat.isDevice) return stat.rdevMajor === 0 && stat.rdevMinor === 0;
  return stat.isFile && stat.size === 0 && /\/\.wh\.[^/]+$/.test(path);
}

const below = (root: ConfinedPath, path: string) => root.join(path.slice(1));

const faultOf = ({ kind }: Change): Restored["fault"] =>
  kind === "A" ? "missing" : kind === "D" ? "added" : "damaged";

/** Copies an entry under the same name; a directory is copied without its entries. */
function copyTo(from: ConfinedPath, to: ConfinedPath): void {
  if (from.name !== to.name) throw new TypeError(`${from} and ${to} have other names`);
  const stat = lstat(from);
  const result = tryInParent(from, (directory, name) =>
    withFd(openDirectory(to.parent), (into) => {
      const found = { directory, isLowest: true };
      if (stat.isDirectory) close(copyDirectoryUp(found, name, stat, into));
      else copyEntryUp(found, name, stat, into);
      return 0;
    }));
  unwrapConfined(result, "copy", from);
}

function setOwner(to: ConfinedPath, from: ConfinedPath): void {
  const { uid, gid, mode } = lstat(from);
  withFd(openDirectory(to), (fd) => {
    fchown(fd, uid, gid);
    fchmod(fd, mode & 0o7777);
  });
}
