/**
 * Compares the files of layers with their records.
 *
 * Only layers with a record are compared. It was made by an apply to the empty layer or by
 * `content_recording.ts`, and since then no mount could write to the layer. So a difference is a
 * change without Veneer. Times of directories are not compared.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { type EntryName, nameText } from "../../ffi/entry_name.ts";
import { withFd } from "../../ffi/files.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import { CONTENT } from "../store/content_records.ts";
import { type ConfinedPath, exists, tryLstat } from "../tree/confined.ts";
import { DirectoryStack } from "../tree/directory_stack.ts";
import { readEntries } from "../../ffi/directory.ts";
import { tryOpenToRead } from "../../ffi/quiet_open.ts";
import { FileHash } from "../graph/file_hash.ts";
import { readContent, type RecordedContent, type RecordedEntry } from "./content_record.ts";
import type { Report } from "./finding.ts";
import { openTrees } from "./layer_trees.ts";
import { removeEntry } from "./mending.ts";
import type { StoreView } from "./store_view.ts";
import type { DriverChecks } from "./structure.ts";

/** The most findings of one layer: the loss of all its files is one fault. */
const MOST_FINDINGS = 20;

/** The times that file systems hold, in seconds since 1970: ext4's with 32 bits at least. */
const OLDEST = -(2 ** 31), NEWEST = 2 ** 31;

/** The parts of a second that file systems hold, in nanoseconds. */
const GRANULES = [1, 100, 1000, 1_000_000, 1_000_000_000];

/** The layers of a store whose contents are compared. */
export interface ComparedLayers {
  readonly of: "layers" | "snapshots";
  readonly ids: Iterable<string>;
  /**
   * For a snapshot its commit time, in microseconds since 1970. An older record belongs to another
   * layer.
   */
  createdAt?(id: string): number;
}

/** The faults of records, as clauses about the file. */
const FAULTS = {
  invalid: "is damaged",
  future: "is of a newer form",
  "not-a-file": "is not a file",
};

/** Whether a record belongs to the layer that has the id now. */
export function isRecordOf(record: ConfinedPath, createdAt = 0): boolean {
  const stat = tryLstat(record);
  return stat !== undefined && stat.seconds * 1e6 + stat.nanos / 1e3 >= createdAt;
}

/**
 * Reports the differences in the layers that have a record, and returns the number of these layers.
 */
export function checkContents(
  view: StoreView,
  { of, ids, createdAt }: ComparedLayers,
  checks: DriverChecks | undefined,
  report: Report,
): number {
  using trees = openTrees(view, checks, of);
  if (trees === undefined) return 0;
  let compared = 0;
  for (const id of ids) {
    // Its apply failed, or is running.
    if (exists(view.own("incomplete", id))) continue;
    const record = view.own(CONTENT, id);
    if (!isRecordOf(record, createdAt?.(id))) continue;
    const content = readContent(record);
    if (content === "missing") continue;
    if (typeof content === "string") {
      const mending = content === "future" ? { remedy: "use a newer veneer" } : removeEntry(record);
      report({
        kind: `content-record-${content}`,
        layer: id,
        file: record.text,
        what: FAULTS[content],
        ...mending,
      });
      continue;
    }
    const path = trees.path(id);
    try {
      using scope = new DisposableStack();
      const root = trees.open(id, scope);
      if (root === undefined) continue; // The check of the structure reports it.
      compared++;
      using comparison = new ContentComparison(id, path, content, trees.isWhole, report);
      comparison.run(root);
    } catch (error) {
      if (!(error instanceof VeneerError) && !(error instanceof SyscallError)) throw error;
      const what = `cannot be read: ${messageOf(error).replace(/; .*/, "")}`;
      const remedy = `remove layer ${id} and make it again`;
      report({ kind: "content-unreadable", layer: id, file: path.text, what, remedy });
    }
  }
  return compared;
}

/** The comparison of one layer's tree with its record. */
export class ContentComparison implements Disposable {
  readonly #left: Map<string, RecordedEntry>;
  /** `undefined` if the record has no hashes, or hashes of a kind that this host cannot compute. */
  readonly #hash: FileHash | undefined;
  readonly #stat = new Stat();
  #found = 0;

  constructor(
    readonly id: string,
    readonly path: ConfinedPath,
    content: RecordedContent,
    readonly isWhole: boolean,
    readonly report: Report,
  ) {
    this.#left = content.entries;
    this.#hash = content.hash && FileHash.open(content.hash);
  }

  [Symbol.dispose](): void {
    this.#hash?.[Symbol.dispose]();
  }

  /** @param root the layer's directory, open for reading */
  run(root: number): void {
    this.#left.delete("");
    using directories = new DirectoryStack(root);
    const levels = [this.#list(directories.fd, "")];
    for (let level; (level = levels.at(-1));) {
      const next = level.pop();
      if (next === undefined) {
        levels.pop();
        if (levels.length > 0) directories.leave();
      } else if (directories.tryEnter(next.name) >= 0) {
        levels.push(this.#list(directories.fd, next.path));
      }
    }
    for (const [path, { type }] of this.#left) {
      if (type !== "any") this.#tell(path, "missing", "is missing");
    }
  }

  /** Compares a directory's entries; returns its subdirectories. */
  #list(directory: number, above: string): { name: EntryName; path: string }[] {
    const subdirectories: { name: EntryName; path: string }[] = [];
    for (const { name } of readEntries(directory)) {
      const text = nameText(name), path = above === "" ? text : `${above}/${text}`;
      if (tryStatat(directory, name, this.#stat) < 0) continue;
      const recorded = this.#left.get(path);
      if (recorded === undefined) this.#added(path, text);
      else {
        this.#left.delete(path);
        this.#compare(path, recorded, directory, name);
      }
      if (this.#stat.isDirectory) subdirectories.push({ name, path });
    }
    return subdirectories;
  }

  #added(path: string, name: string): void {
    const { isDevice, rdevMajor, rdevMinor, isDirectory } = this.#stat;
    const isWhiteout = isDevice && rdevMajor === 0 && rdevMinor === 0 || name.startsWith(".wh.");
    // The tar may contain files below a directory without an entry for it.
    if (this.isWhole || isWhiteout || isDirectory) return;
    this.#tell(path, "added", "is in no record of the layer");
  }

  #compare(path: string, recorded: RecordedEntry, directory: number, name: EntryName): void {
    const stat = this.#stat, { type } = recorded;
    if (type === "any") return;
    const found = stat.isFile
      ? "file"
      : stat.isDirectory
      ? "directory"
      : stat.isSymlink
      ? "link"
      : "node";
    if (type === "hard link" ? found === "directory" : found !== type) {
      return this.#tell(path, "type", `is a ${found}, and was a ${type}`);
    }
    const { size } = stat;
    if (type === "file" && size !== recorded.size) {
      const [fault, word] = size === 0
        ? ["emptied", "is empty"]
        : size < recorded.size
        ? ["shortened", `has only ${size} bytes`]
        : ["grown", `has ${size} bytes`];
      return this.#tell(path, fault, `${word}, and had ${recorded.size}`);
    }
    const sum = this.#hash && recorded.hash && this.#sumOf(directory, name);
    if (sum !== undefined && !sum.every((byte, i) => byte === recorded.hash![i])) {
      // A write to a file changes its time; a fault of a disk does not.
      return this.#isTouched(recorded)
        ? this.#tell(path, "changed", "was given another content after the layer was applied")
        : this.#tell(path, "flipped", "has other bytes than it had, and the size and the time");
    }
    if (!recorded.hasAttributes) return;
    if (stat.uid !== recorded.uid || stat.gid !== recorded.gid) {
      const now = `${stat.uid}:${stat.gid}`, before = `${recorded.uid}:${recorded.gid}`;
      return this.#tell(path, "owner", `belongs to ${now}, and belonged to ${before}`);
    }
    const mode = stat.mode & 0o7777;
    if (type !== "link" && recorded.mode !== undefined && mode !== recorded.mode) {
      const words = [mode, recorded.mode].map((bits) => bits.toString(8));
      return this.#tell(path, "mode", `has mode ${words[0]}, and had ${words[1]}`);
    }
    if (type !== "directory" && this.#isTouched(recorded)) {
      this.#tell(path, "touched", "was changed after the layer was applied");
    }
  }

  /** The hash of a file; `undefined` if it cannot be read any more. */
  #sumOf(directory: number, name: EntryName): Uint8Array | undefined {
    const fd = tryOpenToRead(directory, name);
    return fd < 0 ? undefined : withFd(fd, () => this.#hash!.ofFile(fd));
  }

  #isTouched({ seconds, nanos }: RecordedEntry): boolean {
    const stat = this.#stat;
    if (seconds <= OLDEST || seconds >= NEWEST) return false;
    if (stat.seconds !== seconds) return true;
    return !GRANULES.some((granule) => nanos - nanos % granule === stat.nanos);
  }

  #tell(path: string, fault: string, what: string): void {
    if (++this.#found > MOST_FINDINGS) return;
    const file = `${this.path.text}/${path}`;
    const remedy = `repair layer ${this.id} from its tar, or remove it and make it again`;
    this.report({ kind: `content-${fault}`, layer: this.id, file, what, remedy });
  }
}
