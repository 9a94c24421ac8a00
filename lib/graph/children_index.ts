/**
 * The parents that the records of a store's layers named when they were last read, at
 * `<home>/.veneer/children`. So the record of every layer is read once, and not by each removal.
 *
 * ```text
 * <hash> home <inode> <birth>
 * <hash> <id> <version> <name of the parent> …
 * ```
 *
 * The index is derived data. A line holds for one *version* of a layer's record and for no other;
 * it names a candidate, whose record is then read. So a lost or missing line costs the reading of
 * one record, and nothing worse happens if the file is damaged, missing or cannot be written, if a
 * process is killed while it writes, if the end is lost with the power, or if other programs make
 * and remove layers.
 *
 * - Every line begins with a hash of its rest: torn, overwritten or zeroed lines are skipped.
 * - The first line is about the home: the index of a store that was copied, in which numbers mean
 *   other files, is discarded.
 * - Lines are appended in one write. If most of them are about removed layers, a new index is
 *   written beside the old one and renamed over it. Nothing is synced.
 * - Only a regular file with a single name is read or written, and only as many bytes are read as
 *   the number of layers can need.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import {
  O_APPEND,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  pread,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { fstat, Stat, tryLstatMount } from "../../ffi/stat.ts";
import { type ConfinedPath, rename, tryOpen, tryUnlink } from "../tree/confined.ts";
import { codeOf, messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { Home } from "../store/home.ts";
import { TEMPORARY_SUFFIX, writeFile } from "../store/metadata.ts";
import type { RunState } from "../store/run_state.ts";

/**
 * Bytes of a line: a hash, an id of 200, a version of three numbers, and a parent's two names of
 * 257 at most.
 */
const MAX_LINE = 9 + 201 + 64 + 2 * 258;

/** The number of layers below which the index is not rewritten. */
const FEW = 32;

/** The most lines of an index of so many layers before it is rewritten. */
const mostLines = (layers: number): number => 2 * (layers + FEW);

const NEWLINE = 0x0a;

/** The length of a hash and the space behind it. */
const HASH = 9;

/** The parent that a version of a layer's record names. */
interface Known {
  readonly version: string;
  readonly parents: readonly string[];
  /** The version as it was seen last. */
  seen?: SeenVersion;
}

/**
 * A version of a layer's record: the record's inode, and when it was changed last. A look at a
 * store compares one for each layer, and making their texts would take longer than the calls.
 */
interface SeenVersion {
  readonly inodeLow: number;
  readonly inodeHigh: number;
  readonly changeSeconds: number;
  readonly changeNanos: number;
}

/** The text of a version. */
export const versionOf = ({ inode, changeSeconds, changeNanos }: Stat): string =>
  `${inode}-${changeSeconds}.${changeNanos}`;

/** The index of one store, as far as this process knows it. */
export class ChildrenIndex {
  readonly #path: ConfinedPath;
  readonly #header: string;
  readonly #known = new Map<string, Known>();
  readonly #stat = new Stat();
  /** Lines that are not in the file yet. */
  #added: string[] = [];
  /** The file that was read, if it can be appended to. */
  #inode: bigint | undefined;
  /** The end of its last complete line, in bytes. */
  #end = 0;
  #lines = 0;
  #hasWarned = false;

  constructor(
    home: Home,
    readonly state: RunState,
    readonly warn: Warn,
  ) {
    this.#path = home.own("children");
    this.#header = `home ${home.inode} ${tryLstatMount(home.path)?.birth ?? 0n}`;
  }

  /** The parent that a version of a layer's record names, if it is known. */
  parents(id: string, version: string): readonly string[] | undefined {
    const known = this.#known.get(id);
    return known?.version === version ? known.parents : undefined;
  }

  /** The same by the state of the record. */
  parentsAt(id: string, stat: Stat): readonly string[] | undefined {
    const known = this.#known.get(id);
    if (known === undefined) return undefined;
    if (known.seen !== undefined && isSame(known.seen, stat)) return known.parents;
    if (known.version !== versionOf(stat)) return undefined;
    const { inodeLow, inodeHigh, changeSeconds, changeNanos } = stat;
    known.seen = { inodeLow, inodeHigh, changeSeconds, changeNanos };
    return known.parents;
  }

  /**
   * Adds the parent that a record was found to name.
   *
   * @param version of a record that cannot change any more without getting another; without a space
   * or a newline, as the names are
   */
  add(id: string, version: string, parents: readonly string[]): void {
    this.#remember(id, version, parents);
    this.#added.push(line([id, version, ...parents].join(" ")));
  }

  /** Several lines about one version can all be right. */
  #remember(id: string, version: string, parents: readonly string[]): void {
    const before = this.parents(id, version) ?? [];
    this.#known.set(id, { version, parents: [...new Set([...before, ...parents])] });
  }

  /**
   * Reads lines that other processes have written since.
   *
   * @param layers how many the store has
   */
  load(layers: number): void {
    try {
      const fd = tryOpen(this.#path, O_RDONLY | O_NONBLOCK);
      if (fd < 0) this.#inode = undefined;
      else withFd(fd, () => this.#read(fd, layers));
    } catch {
      this.#inode = undefined;
    }
  }

  #read(fd: number, layers: number): void {
    const { size, inode } = fstat(fd, this.#stat);
    const isKnown = inode === this.#inode && size >= this.#end;
    this.#inode = undefined;
    if (!isKnown) this.#end = this.#lines = 0;
    // Twice the lines may have been appended at once.
    if (!isPlain(this.#stat) || size > MAX_LINE * 2 * mostLines(layers)) return;
    const bytes = new Uint8Array(size - this.#end);
    for (let at = 0; at < bytes.length;) {
      const rest = bytes.subarray(at);
      const got = pread(fd, rest, rest.length, BigInt(this.#end + at));
      if (got === 0) return;
      at += got;
    }
    if (this.#parse(bytes)) this.#inode = inode;
  }

  /** Reads complete lines; false if they are about another home. */
  #parse(bytes: Uint8Array): boolean {
    for (let at = 0, end; (end = bytes.indexOf(NEWLINE, at)) >= 0; at = end + 1) {
      const text = content(bytes.subarray(at, end));
      if (this.#lines === 0) {
        if (text !== this.#header) return false;
      } else if (text !== undefined) {
        const [id, version, ...parents] = text.split(" ");
        this.#remember(id, version, parents);
      }
      this.#end += end + 1 - at;
      this.#lines++;
    }
    return this.#lines > 0;
  }

  /**
   * Appends the new lines, or rewrites the whole index if the file is damaged or mostly about
   * removed layers. If writing fails, the records concerned are read again next time.
   *
   * @param ids of the store's layers
   */
  save(ids: readonly string[]): void {
    const isDue = this.#added.length > 0 || this.#known.size > 0 && !this.#isSound(ids.length);
    if (!isDue) return;
    const present = new Set(ids);
    using lock = this.state.tryLockNamed("children");
    if (lock === undefined) return; // Another process is writing it; the rest is written next time.
    this.load(present.size);
    try {
      if (!this.#isSound(present.size) || !this.#append()) this.#rewrite(present);
    } catch (error) {
      this.#tell(error);
    }
    this.#added = [];
  }

  #isSound(layers: number): boolean {
    return this.#inode !== undefined && this.#lines <= mostLines(layers);
  }

  /** Appends the new lines; false if the file is not the one that was read. */
  #append(): boolean {
    const fd = tryOpen(this.#path, O_WRONLY | O_APPEND | O_NONBLOCK);
    if (fd < 0) return false;
    return withFd(fd, () => {
      const { size, inode } = fstat(fd, this.#stat);
      if (!isPlain(this.#stat) || inode !== this.#inode) return false;
      // Ends the partial line of a killed process.
      const torn = size > this.#end ? "\n" : "";
      writeAll(fd, encode(torn + this.#added.join("")));
      return true;
    });
  }

  #rewrite(present: ReadonlySet<string>): void {
    for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
    const lines = [line(this.#header)];
    for (const [id, { version, parents }] of this.#known) {
      lines.push(line([id, version, ...parents].join(" ")));
    }
    const temporary = this.#path.withSuffix(TEMPORARY_SUFFIX);
    try {
      writeFile(temporary, lines.join(""));
      rename(temporary, this.#path);
    } catch (error) {
      tryUnlink(temporary); // It takes space on a disk that may be full.
      throw error;
    }
  }

  /** Warns once of a permanent obstacle. A full disk and a read-only store are temporary. */
  #tell(error: unknown): void {
    const passes = ["limit exceeded", "failed precondition"].includes(codeOf(error));
    if (passes || this.#hasWarned) return;
    this.#hasWarned = true;
    this.warn(
      `${this.#path} cannot be written, so each removal reads the records of all layers: ${
        messageOf(error)
      }`,
    );
  }
}

const isSame = (one: SeenVersion, other: SeenVersion): boolean =>
  one.inodeLow === other.inodeLow && one.inodeHigh === other.inodeHigh &&
  one.changeSeconds === other.changeSeconds && one.changeNanos === other.changeNanos;

/**
 * Whether an open file is a regular one with a single name: writing to a second name would change
 * another file.
 */
const isPlain = ({ isFile, links }: Stat): boolean => isFile && links === 1;

/** A line of the index. */
function line(text: string): string {
  return `${hash(encode(text), 0)} ${text}\n`;
}

/** The content of a line; `undefined` if it is damaged. */
function content(bytes: Uint8Array): string | undefined {
  const expected = hash(bytes, HASH);
  for (let i = 0; i < expected.length; i++) {
    if (bytes[i] !== expected.charCodeAt(i)) return undefined;
  }
  return decode(bytes.subarray(HASH));
}

/**
 * The hash of bytes from an offset on: FNV-1a of 32 bits (draft-eastlake-fnv), 8 hexadecimal
 * digits.
 */
function hash(bytes: Uint8Array, start: number): string {
  const PRIME = 0x01000193, OFFSET_BASIS = 0x811c9dc5;
  let value = OFFSET_BASIS;
  for (let i = start; i < bytes.length; i++) value = Math.imul(value ^ bytes[i], PRIME);
  return (value >>> 0).toString(16).padStart(HASH - 1, "0");
}
