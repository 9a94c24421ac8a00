/**
 * One tar on its way into one layer: the file that each type of entry makes, and the one that it
 * replaces.
 *
 * Three things are delicate. A directory's descriptor is good until the Worker's jobs are drained
 * or the placement forgets, and is looked up again after either. No file is made under a name that
 * the Worker is still to make. And existing files are never opened, only replaced: one may be a
 * fifo or a link.
 *
 * @module
 */
import { decode } from "../../../ffi/cstring.ts";
import { type EntryName, nameText } from "../../../ffi/entry_name.ts";
import { EEXIST, ENOENT } from "../../../ffi/errno.ts";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  reopen,
  withFd,
} from "../../../ffi/files.ts";
import { fstat, Stat, tryStatat } from "../../../ffi/stat.ts";
import {
  makedev,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  tryLinkat,
  tryMkdirat,
  tryMknodat,
  trySymlinkat,
} from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { Parents } from "../../tree/parents.ts";
import { liftingProtection } from "../../tree/protection.ts";
import { removeEntry } from "../../tree/remove_tree.ts";
import { classify, targetOf, Whiteouts } from "./apply_whiteouts.ts";
import type { Applied, ApplyOptions } from "./apply_options.ts";
import { ASIDE, isAside, leadAside } from "./aside.ts";
import { Attributes } from "./attributes.ts";
import { badTar, quoted } from "../read/bad_tar.ts";
import { type Directory, KnownDirectories } from "./known_directories.ts";
import { missingTarget, reachTarget, type TargetContext } from "./link_target.ts";
import type { Entry } from "../read/entry.ts";
import {
  BLOCK_DEVICE,
  CHARACTER_DEVICE,
  DIRECTORY,
  FIFO,
  HARD_LINK,
  REGULAR,
  SYMBOLIC_LINK,
} from "../header.ts";
import type { TarInput } from "../read/input.ts";
import type { LayerPath } from "../read/layer_path.ts";
import { childPath, Placement } from "./placement.ts";
import { refuseUnmarkedEnd, TarReader } from "../read/reader.ts";
import { refused } from "./refused.ts";
import { tryMakeRegular } from "./regular_file.ts";
import { DescriptorWindow } from "../read/descriptor_window.ts";
import { PROGRESS_PART } from "../read/window.ts";
import { WorkerJobs } from "./worker_jobs.ts";

/** The interval of progress reports, in bytes. */
const PROGRESS_STEP = 4 << 20;

/** The kernel's device numbers have 12 and 20 bits (`linux/kdev_t.h`). */
const MAJOR_LIMIT = 1 << 12;
const MINOR_LIMIT = 1 << 20;

/** Applies one tar, once. The thread's umask must be 0. */
export class Applier {
  readonly #source: TarInput;
  readonly #root: number;
  readonly #options: ApplyOptions;
  /** The tar's; while something is done over, another one. */
  #reader: TarReader;
  readonly #attributes: Attributes;
  readonly #placement: Placement;
  readonly #whiteouts: Whiteouts;
  readonly #directories = new KnownDirectories();
  readonly #parents: Parents | undefined;
  readonly #stat = new Stat();
  readonly #applied: Applied = { size: 0, entries: 0 };
  readonly #targetContext: TargetContext;
  readonly #isMapped: boolean;
  readonly #jobs: WorkerJobs | undefined;
  #hasAside = false;
  /** Paths lead elsewhere than they did before the entry. */
  #isStale = false;

  constructor(source: TarInput, root: number, options: ApplyOptions) {
    this.#source = source;
    this.#root = root;
    this.#options = options;
    this.#reader = new TarReader(source.window, this.#unmarkedEnd());
    const { whiteouts: form, lowers = [], idMaps: { uids, gids } } = options;
    this.#isMapped = !(uids.isIdentity && gids.isIdentity);
    this.#attributes = new Attributes(options.idMaps, (message) => options.warn?.(message));
    if (form !== "none" && lowers.length > 0) this.#parents = new Parents(root, lowers, form);
    const context = {
      parents: this.#parents,
      directories: this.#directories,
      owner: { uid: uids.root, gid: gids.root },
      drain: () => this.#drain(),
    };
    this.#whiteouts = new Whiteouts({ ...context, form });
    this.#placement = new Placement({
      ...context,
      root,
      whiteouts: this.#whiteouts,
      implied: (directory, name) => this.#noteImplied(directory, name),
      release: (directory) => this.#jobs ? this.#jobs.release(directory) : close(directory.fd),
    });
    const { parents } = context;
    this.#targetContext = { parents, whiteouts: this.#whiteouts, placement: this.#placement };
    if (options.workers !== 0) {
      const redo = (offset: number) => this.#redo(offset);
      this.#jobs = WorkerJobs.start(source.window, options.idMaps, this.#attributes, redo);
    }
  }

  get #entry(): Entry {
    return this.#reader.entry;
  }

  /** Applies once more the entry at an offset, which the Worker found something in the way of. */
  #redo(offset: number): void {
    const reader = this.#reader;
    const { fd, base } = this.#source.window.file!;
    this.#reader = new TarReader(new DescriptorWindow(fd, base));
    try {
      this.#reader.seek(offset);
      this.#reader.next();
      leadAside(this.#entry);
      this.#makeRegular();
    } finally {
      this.#reader = reader;
    }
  }

  /** The treatment of a tar without its end-of-archive marker, if the reader does not refuse it. */
  #unmarkedEnd(): ((offset: number) => void) | undefined {
    const { provenWhole, warn } = this.#options;
    if (!provenWhole) return undefined;
    return (offset) => {
      if (typeof provenWhole === "function" && !provenWhole()) refuseUnmarkedEnd(offset);
      warn?.("the tar has no end-of-archive marker (1024 zero bytes); it is taken as whole");
    };
  }

  run(): Applied {
    const { onProgress } = this.#options;
    let nextReport = PROGRESS_STEP;
    this.#source.window.onMoved = onProgress;
    while (this.#reader.next()) {
      this.#applyOrExplain();
      this.#applied.entries++;
      if (onProgress !== undefined && this.#reader.window.position >= nextReport) {
        onProgress(this.#reader.window.position);
        nextReport = this.#reader.window.position + PROGRESS_STEP;
      }
    }
    this.#source.window.drain();
    this.#drain();
    if (this.#hasAside) removeEntry(this.#root, ASIDE);
    this.#directories.times.apply((path) => this.#placement.tryOpenReal(path));
    const length = this.#reader.window.position;
    this.#options.log?.ended(length);
    onProgress?.(length);
    return this.#applied;
  }

  /** Ends the Worker and closes every descriptor. */
  close(): void {
    this.#placement.forget();
    this.#parents?.[Symbol.dispose]();
    this.#jobs?.close();
  }

  #drain(): void {
    this.#jobs?.drain();
  }

  /** Applies the reader's current entry; a refusal by the kernel becomes the tar's error. */
  #applyOrExplain(): void {
    try {
      this.#apply();
    } catch (error) {
      throw refused(error, this.#entry);
    }
  }

  #apply(): void {
    const entry = this.#entry;
    if (entry.whiteoutStart >= 0) {
      if (entry.type !== DIRECTORY && leadAside(entry)) return this.#applyAside();
      return this.#applyWhiteout();
    }
    if (entry.pathLength === 0) return this.#applyRoot();
    this.#checkLength(entry.name);
    if (this.#whiteouts.besideEntries && entry.type !== DIRECTORY) {
      this.#whiteouts.lift(this.#placement.parentOf(entry).fd, entry.name);
    }
    this.#applyType();
    if (this.#isStale) this.#placement.forget();
    this.#isStale = false;
  }

  /** Keeps the files that later entries link to. */
  #applyAside(): void {
    if (!this.#hasAside) {
      this.#drain();
      removeEntry(this.#root, ASIDE);
      this.#placement.forget();
      this.#hasAside = true;
    }
    this.#applyType();
  }

  #applyType(): void {
    const entry = this.#entry;
    switch (entry.type) {
      case REGULAR:
        return this.#applyRegular();
      case DIRECTORY:
        return this.#applyDirectory();
      case SYMBOLIC_LINK:
        return this.#applySymlink();
      case HARD_LINK:
        return this.#applyHardLink();
      case CHARACTER_DEVICE:
      case BLOCK_DEVICE:
        return this.#applyDevice();
      case FIFO:
        return this.#applyNode(S_IFIFO, 0n);
      default:
        this.#attributes.warnOnce(
          `type ${entry.type}`,
          `entry ${quoted(entry.text)} is left out: a tar entry of the unknown type ` +
            `${quoted(String.fromCharCode(entry.type))}`,
        );
    }
  }

  /** Warns of a name that the layer's form takes and its mount does not. */
  #checkLength(name: EntryName): void {
    const { longestName } = this.#whiteouts;
    if (name.length - 1 <= longestName) return;
    this.#attributes.warnOnce(
      "long names",
      `entry ${
        quoted(this.#entry.text)
      } and others like it cannot be opened once the layer is mounted: ` +
        `names of more than ${longestName} bytes are too long for aufs`,
    );
  }

  #applyRegular(): void {
    const entry = this.#entry;
    this.#applied.size += entry.fileSize;
    const parent = this.#placement.parentOf(entry);
    // The Worker does not report its progress within a large file.
    const isTold = this.#options.onProgress !== undefined && entry.size > PROGRESS_PART;
    if (!isTold && this.#jobs?.take(entry, parent)) return this.#made(parent);
    this.#makeRegular();
  }

  #makeRegular(): void {
    this.#make(
      "openat",
      (parent) => tryMakeRegular(parent.fd, parent.inherits, this.#reader, this.#attributes),
    );
  }

  /** Makes an entry by a raw call, and replaces an existing one; returns the directory it is in. */
  #make(syscall: string, make: (parent: Directory) => number): Directory {
    let parent = this.#parent();
    let result = liftingProtection(parent.fd, () => make(parent));
    if (result === -EEXIST) {
      parent = this.#clear();
      result = liftingProtection(parent.fd, () => make(parent));
    }
    unwrap(result, syscall, this.#entry);
    this.#made(parent);
    return parent;
  }

  /** The entry's directory, once no file of the entry's name is in flight. */
  #parent(): Directory {
    const parent = this.#placement.parentOf(this.#entry);
    const drained = this.#jobs?.drainName(parent.identity, this.#entry.name);
    return drained ? this.#placement.parentOf(this.#entry) : parent;
  }

  /** Takes note of the entry, which was made in a directory. */
  #made({ path, identity }: Directory): void {
    const { name } = this.#entry;
    this.#log(path);
    this.#whiteouts.made(identity, name);
    this.#isStale ||= this.#placement.ledOver(path, name);
  }

  /** Reports the entry that was made in a directory to the log. */
  #log(directory: string): void {
    const { log } = this.#options;
    // Files that are kept aside are removed at the end.
    if (log === undefined || this.#hasAside && isAside(directory)) return;
    const { uid, gid } = this.#entry;
    const { uids, gids } = this.#options.idMaps;
    log.made(directory, this.#entry, uids.toHost(uid) ?? uid, gids.toHost(gid) ?? gid);
  }

  /**
   * Removes an existing file in the entry's place; returns the entry's directory. It is not looked
   * up again: the removed file may be a link on the entry's own path.
   */
  #clear(): Directory {
    this.#drain();
    const parent = this.#placement.parentOf(this.#entry);
    const { name } = this.#entry;
    const found = tryStatat(parent.fd, name, this.#stat);
    if (found === -ENOENT) return parent;
    unwrap(found, "statx", this.#entry);
    const leads = this.#stat.isDirectory || this.#stat.isSymlink;
    removeEntry(parent.fd, name);
    if (!leads) return parent;
    this.#placement.forget();
    return this.#placement.at(parent.path);
  }

  #applyRoot(): void {
    const entry = this.#entry;
    if (entry.type !== DIRECTORY) {
      throw badTar(entry.offset, "it is the layer's root, which is a directory", entry.text);
    }
    const root = reopen(this.#root, O_RDONLY | O_DIRECTORY);
    withFd(root, () => this.#finishDirectory(root, "", false, false));
    this.#log("");
    // The group and access list that it hands down may have changed.
    this.#placement.forget();
  }

  #applyDirectory(): void {
    const entry = this.#entry;
    let parent = this.#parent();
    // Not merged with the parents' directory of the same name.
    let isReplaced = this.#whiteouts.besideEntries &&
      this.#whiteouts.lift(parent.fd, entry.name);
    const make = () => tryMkdirat(parent.fd, entry.name, entry.mode & 0o777);
    let made = liftingProtection(parent.fd, make);
    if (made === -EEXIST) {
      this.#drain();
      parent = this.#placement.parentOf(entry);
      const found = tryStatat(parent.fd, entry.name, this.#stat);
      if (found < 0 || !this.#stat.isDirectory) {
        isReplaced ||= found === 0;
        parent = this.#clear();
        made = unwrap(liftingProtection(parent.fd, make), "mkdirat", entry);
      }
    } else unwrap(made, "mkdirat", entry);
    this.#made(parent);
    const fd = openat(parent.fd, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const name = nameText(entry.name);
    try {
      this.#finishDirectory(fd, childPath(parent.path, name), made === 0, parent.inherits);
      if (isReplaced) this.#whiteouts.replace(parent.path, entry.name, fd);
    } catch (error) {
      close(fd);
      throw error;
    }
    this.#placement.remember(parent, name, fd);
  }

  #finishDirectory(fd: number, real: string, isNew: boolean, inherits: boolean): void {
    this.#attributes.finishDirectory(fd, this.#entry, isNew, inherits);
    const { inode } = fstat(fd, this.#stat);
    if (isNew) this.#directories.born(real, inode, this.#entry);
    else this.#directories.announce(real, inode, this.#entry);
  }

  #applySymlink(): void {
    const entry = this.#entry;
    const { target } = entry;
    if (target === undefined) {
      throw badTar(entry.offset, "it is a link without a target", entry.text);
    }
    const { fd, inherits } = this.#make(
      "symlinkat",
      (parent) => trySymlinkat(target, parent.fd, entry.name),
    );
    this.#attributes.finishNode(fd, entry, inherits);
  }

  /** A second name for a file: of the file itself, never of a link's target. */
  #applyHardLink(): void {
    const entry = this.#entry, { linked } = entry;
    if (!leadAside(linked) && linked.whiteoutStart >= 0) throw missingTarget(entry, -ENOENT);
    const above = this.#placement.tryOpen(decode(linked.parentPath), entry.offset);
    if (typeof above === "number") throw missingTarget(entry, above);
    withFd(above.fd, () => {
      const { inode } = fstat(above.fd, this.#stat);
      this.#jobs?.drainName(this.#directories.identity(inode), linked.name);
      reachTarget(entry, above, this.#targetContext);
      this.#options.log?.copied(above.path, linked.name);
      if (this.#isSameEntry(above.fd, linked)) return this.#made(this.#placement.parentOf(entry));
      this.#make("linkat", (parent) => {
        const link = () => tryLinkat(above.fd, linked.name, parent.fd, entry.name);
        const result = liftingProtection(above.fd, link, linked.name);
        if (result !== -EEXIST && result < 0) throw missingTarget(entry, result);
        return result;
      });
    });
  }

  #isSameEntry(above: number, target: LayerPath): boolean {
    const parent = this.#placement.parentOf(this.#entry);
    const mine = tryStatat(parent.fd, this.#entry.name, this.#stat);
    if (mine < 0) return false;
    const { inode } = this.#stat;
    return tryStatat(above, target.name, this.#stat) === 0 && this.#stat.inode === inode;
  }

  #applyDevice(): void {
    const entry = this.#entry;
    const { major, minor } = entry;
    if (!(major >= 0 && major < MAJOR_LIMIT && minor >= 0 && minor < MINOR_LIMIT)) {
      throw badTar(entry.offset, `its device number ${major}:${minor} is out of range`, entry.text);
    }
    if (this.#isMapped) {
      return this.#attributes.warnOnce(
        "devices",
        `device ${quoted(entry.text)} and others are left out: ids are mapped, and a user ` +
          `namespace may not use device nodes`,
      );
    }
    const isCharacter = entry.type === CHARACTER_DEVICE;
    if (isCharacter && major === 0 && minor === 0) {
      return this.#attributes.warnOnce(
        "whiteout devices",
        `device ${quoted(entry.text)} is left out: a character device 0:0 is overlay's own mark`,
      );
    }
    this.#applyNode(isCharacter ? S_IFCHR : S_IFBLK, makedev(major, minor));
  }

  #applyNode(type: number, device: bigint): void {
    const entry = this.#entry;
    const { fd, inherits } = this.#make(
      "mknodat",
      (parent) => tryMknodat(parent.fd, entry.name, type | (entry.mode & 0o777), device),
    );
    this.#attributes.finishNode(fd, entry, inherits);
  }

  #applyWhiteout(): void {
    const entry = this.#entry;
    const kind = classify(entry);
    if (kind === "metadata") return;
    this.#options.log?.hidden();
    if (kind === "whiteout") this.#checkLength(targetOf(entry));
    this.#drain();
    const parent = this.#placement.existingParentOf(entry);
    if (parent === undefined) return;
    const leads = kind === "opaque"
      ? this.#whiteouts.hideAll(parent)
      : this.#whiteouts.hide(parent, targetOf(entry));
    // The hidden entry may have been on the path of an open directory.
    if (leads) this.#placement.forget();
  }

  #noteImplied(directory: bigint, name: EntryName): void {
    this.#checkLength(name);
    this.#whiteouts.made(directory, name);
  }
}
