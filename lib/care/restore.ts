/**
 * Restores the files of a layer from its tar, or from a copy of its directory, in place. Layers on
 * it are not changed.
 *
 * A tar is applied to a new layer on the same parent. This layer, or the copy, is compared with the
 * damaged layer, including the contents of files. Entries that differ are moved over, or copied
 * from the directory, and those that they replace go to the quarantine. After a kill each entry is
 * as it was, as it should be, or missing, and the next run continues.
 *
 * If the layer has a record of its content, the source must agree with the record, and entries that
 * are not in the source are moved aside. Without a record they stay, since a container may have
 * made them.
 *
 * @module
 */
import { EXDEV } from "../../ffi/errno.ts";
import { close, syncfs, withFd } from "../../ffi/files.ts";
import { fchmod, fchown, RENAME_NOREPLACE, Times, tryFutimens } from "../../ffi/names.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { CONTENT } from "../store/content_records.ts";
import type { GraphDriver } from "../graph/driver.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { holdToChange } from "../store/service_hold.ts";
import type { Change } from "../tree/changes.ts";
import { compareTrees } from "../tree/compare.ts";
import {
  type ConfinedPath,
  type ConfinedRoot,
  exists,
  isDirectory,
  lstat,
  openDirectory,
  rename,
  tryInParent,
  tryLstat,
  tryRename,
  tryUnlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { copyDirectoryUp, copyEntryUp } from "../tree/copy_up.ts";
import { makeOwned } from "../tree/make_owned.ts";
import { type CheckedStore, checkStore } from "./check.ts";
import { ContentComparison } from "./content.ts";
import { readContent } from "./content_record.ts";
import type { Found } from "./finding.ts";
import { requireUnmounted } from "./layer_uses.ts";
import { Losses } from "./losses.ts";
import { Quarantine } from "./quarantine.ts";
import { StoreView } from "./store_view.ts";

/** The ids of the new layers: this, and a UUID, so that no other layer has such an id. */
const SCRATCH = "veneer-repair-";
const SCRATCH_ID = new RegExp(`^${SCRATCH}[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`);

/** An entry that was restored. */
export interface Restored {
  /** From the layer's root, with a leading `/`. */
  readonly path: string;
  /** Whether it was missing, differed, or was not in the source. */
  readonly fault: "missing" | "damaged" | "added";
}

/** A layer to be restored. */
export interface RestoreRequest {
  readonly store: CheckedStore;
  /** The open store. */
  readonly driver: GraphDriver;
  readonly id: string;
  /**
   * A tar, open for reading, plain, gzip or zstd; or a directory with the layer's own files in the
   * form of its driver, such as the layer's directory in another store.
   */
  readonly source: number | ConfinedRoot;
  /** Only return what would be restored. */
  readonly isDry?: boolean;
}

/** The restored entries, and the directory of the replaced ones. */
export interface Restoration {
  readonly restored: readonly Restored[];
  readonly quarantine: string | undefined;
}

/**
 * Restores a layer.
 *
 * @throws {VeneerError} `in use` if it, or a layer on it, is mounted or transferred; `invalid
 * argument` if the files are those of another layer; `not supported` for a driver whose layers are
 * devices
 */
export function restoreLayer(request: RestoreRequest): Restoration {
  const { store, driver, id, source } = request, { contentOf } = store.checks ?? {};
  if (contentOf === undefined) {
    throw new VeneerError(
      "not supported",
      `the layers of ${store.driver} are devices, whose files cannot be restored one by one`,
    );
  }
  const home = Home.open(store.root, store.driver, IDENTITY);
  const state = new RunState(home);
  using _hold = holdToChange(state, home.path);
  using one = state.tryLockNamed("repair");
  if (one === undefined) throw new VeneerError("in use", `another repair works on ${home.path}`);
  removeScratch(driver);
  if (typeof source !== "number") return restoreFrom(source.join(), request, home, state);
  const scratch = `${SCRATCH}${crypto.randomUUID()}`;
  const { parent } = driver.layer(id);
  if (parent === undefined) {
    throw new VeneerError("failed precondition", `the parent of layer ${id} is not recorded`);
  }
  driver.create(scratch, { parent });
  try {
    driver.applyDiff(scratch, undefined, source);
    using view = StoreView.open(store.root, store.driver)!;
    const { path } = contentOf(view, scratch);
    return restoreFrom(home.join(path.relative), request, home, state);
  } finally {
    if (driver.exists(scratch)) driver.remove(scratch);
  }
}

/** Restores a layer from a directory with the right files. */
function restoreFrom(
  right: ConfinedPath,
  request: RestoreRequest,
  home: Home,
  state: RunState,
): Restoration {
  const { store, id, isDry = false } = request;
  using _lock = state.lockLayer(id);
  using _use = state.use(id, "exclusive");
  using view = StoreView.open(store.root, store.driver)!;
  requireFamilyUnmounted(request, home, view);
  const damaged = home.join(store.checks!.contentOf!(view, id).path.relative);
  const hasRecord = requireItsFiles(request, view, right);
  return new Restoring(right, damaged, new Quarantine(home), hasRecord).run(id, isDry);
}

/** Removes the layers that killed repairs left. */
function removeScratch(driver: GraphDriver): void {
  for (const { id } of driver.layers()) if (SCRATCH_ID.test(id)) driver.remove(id);
}

/** Throws if a mount shows the layer: its own mount, or one of a layer on it. */
function requireFamilyUnmounted({ store, id }: RestoreRequest, home: Home, view: StoreView): void {
  const { isWhole } = store.checks!.contentOf!(view, id);
  const family = isWhole ? [id] : new Losses(checkStore(store)!).on(id);
  const paths = family.flatMap((layer) => [...store.checks!.pathsOf(view, layer, store.of)]);
  requireUnmounted(`layer ${id}, or one on it,`, home.path, new Set(paths));
}

/** Compares files with the layer's record; returns whether there is a record. */
function requireItsFiles({ store, id }: RestoreRequest, view: StoreView, path: ConfinedPath) {
  const content = readContent(view.own(CONTENT, id));
  if (typeof content === "string") return false;
  const { isWhole } = store.checks!.contentOf!(view, id);
  const differences: Found[] = [];
  using comparison = new ContentComparison(
    id,
    path,
    content,
    isWhole,
    (found) => differences.push(found),
  );
  withFd(openDirectory(path), (directory) => comparison.run(directory));
  const [first] = differences;
  if (first === undefined) return true;
  throw new VeneerError(
    "invalid argument",
    `the source is not what layer ${id} was made from: in that ${
      first.file.slice(path.text.length)
    } ${first.what}`,
  );
}

/** Compares a damaged tree with the right one, and restores it. */
class Restoring {
  readonly #times = new Times();
  readonly #restored: Restored[] = [];
  /** The last directory that was moved over with all below it. */
  #done: string | undefined;
  /**
   * The copied directories, with their originals. Their times are set last, since they change while
   * entries are added.
   */
  readonly #copied: [copy: ConfinedPath, original: ConfinedPath][] = [];

  constructor(
    readonly right: ConfinedPath,
    readonly damaged: ConfinedPath,
    readonly quarantine: Quarantine,
    readonly hasRecord: boolean,
  ) {}

  run(id: string, isDry: boolean): Restoration {
    const { right, damaged, quarantine } = this;
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
    for (const change of wanted) this.#restore(change);
    for (const [copy, original] of this.#copied.reverse()) {
      const stat = lstat(original);
      withFd(openDirectory(copy), (fd) => this.#setTimes(fd, stat));
    }
    withFd(openDirectory(damaged), (fd) => syncfs(fd, damaged.text));
    quarantine.finish();
    return { restored: this.#restored, quarantine: quarantine.path.text };
  }

  /**
   * A directory is also reported as changed if only an entry below it is; then it is not damaged.
   */
  #isDamage({ kind, path }: Change): boolean {
    if (kind === "A") return true;
    if (kind === "D") return this.hasRecord;
    const [old, now] = [this.damaged, this.right].map((root) =>
      lstat(below(root, path), new Stat())
    );
    // The times of whiteouts are those of their apply.
    if ([old, now].every((stat) => isWhiteout(stat, path))) return false;
    return !old.isDirectory || !now.isDirectory || old.mode !== now.mode || old.uid !== now.uid ||
      old.gid !== now.gid;
  }

  #whole(id: string, isDry: boolean): Restoration {
    const { damaged, right, quarantine } = this;
    const restored: Restored[] = [{ path: "/", fault: "missing" }];
    if (isDry) return { restored, quarantine: undefined };
    quarantine.write();
    withFd(openDirectory(right), (fd) => syncfs(fd, right.text));
    if (exists(damaged)) rename(damaged, quarantine.place(damaged.relative), RENAME_NOREPLACE);
    if (right.root !== damaged.root) {
      const { mode, uid, gid } = lstat(right);
      makeOwned(damaged, mode & 0o7777, uid, gid);
      return this.run(id, false);
    }
    // The new layer's own entry is left for the removal of that layer.
    rename(right, damaged, RENAME_NOREPLACE);
    withFd(openDirectory(damaged), (fd) => syncfs(fd, damaged.text));
    quarantine.finish();
    return { restored, quarantine: quarantine.path.text };
  }

  #restore({ kind, path }: Change): void {
    if (this.#done !== undefined && path.startsWith(`${this.#done}/`)) return;
    const old = below(this.damaged, path), now = below(this.right, path);
    this.#keepingTimes(old.parent, () => {
      if (kind === "D") return this.#aside(old);
      const stat = lstat(now), before = tryLstat(old);
      if (stat.isDirectory && before?.isDirectory) return setOwner(old, now);
      // The old entry is in the quarantine before anything stands in its place.
      if (before !== undefined) this.#aside(old);
      const result = now.root === old.root ? tryRename(now, old, RENAME_NOREPLACE) : -EXDEV;
      if (result === -EXDEV) return this.#copy(old, now);
      unwrapConfined(result, "rename", old);
      if (stat.isDirectory) this.#done = path;
    });
  }

  #aside(path: ConfinedPath): void {
    const place = this.quarantine.place(path.relative);
    const result = tryRename(path, place, RENAME_NOREPLACE);
    if (result !== -EXDEV) return void unwrapConfined(result, "rename", path);
    if (lstat(path).isDirectory) {
      throw new VeneerError("failed precondition", `${path} is in the way; move it elsewhere`);
    }
    copyTo(path, place);
    unwrapConfined(tryUnlink(path), "unlink", path);
  }

  /**
   * Replaces an entry by a copy, if there is no rename: between subvolumes, and from another
   * directory.
   */
  #copy(old: ConfinedPath, now: ConfinedPath): void {
    copyTo(now, old);
    if (isDirectory(old)) this.#copied.push([old, now]);
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
