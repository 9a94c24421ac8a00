/**
 * What the records of a store's layers named as their parents when they were last read, at
 * `<home>/.veneer/children`: so that the record of every layer is read once, and not by each removal.
 *
 * ```text
 * <hash> home <inode> <birth>
 * <hash> <id> <version> <name of the parent> …
 * ```
 *
 * The index is derived and never the truth. A line holds for one *version* of a layer's record and says nothing of
 * any other; what it names is a candidate, whose record is then read. So a line that is lost, or was never
 * written, costs the reading of one record. That is all that happens if the file is damaged, missing or cannot be
 * written, if a process is killed while it writes, if the end is lost with the power, or if other programs make and
 * remove layers.
 *
 * - Every line begins with a hash of its rest: what is torn, overwritten or filled with zeros is passed over.
 * - The first line is about the home: the index of a store that was copied, in which numbers mean other files, is
 *   discarded.
 * - Lines are appended in one write. If most of them are about layers that are gone, the index is written anew
 *   beside its place and renamed over it. Nothing is synced.
 * - Nothing is written to or read from what is not a regular file with this one name, and no more is read than so
 *   many layers can need.
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

/** Bytes of a line: a hash, an id of 200, a version of three numbers, and a parent's two names of 257 at most. */
const MAX_LINE = 9 + 201 + 64 + 2 * 258;

/** How few layers the index is not written anew for. */
const FEW = 32;

/** The most lines that an index of so many layers has before it is written anew. */
const mostLines = (layers: number): number => 2 * (layers + FEW);

const NEWLINE = 0x0a;

/** The length of a hash and the space behind it. */
const HASH = 9;

/** What a version of a layer's record names as the parent. */
interface Known {
  readonly version: string;
  readonly parents: readonly string[];
}

/** The index of one store, as far as this process knows it. */
export class ChildrenIndex {
  readonly #path: ConfinedPath;
  readonly #header: string;
  readonly #known = new Map<string, Known>();
  readonly #stat = new Stat();
  /** Lines that the file lacks. */
  #added: string[] = [];
  /** The file that was read, if it can be appended to. */
  #inode: bigint | undefined;
  /** Where its last whole line ends, in bytes. */
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

  /** What a version of a layer's record names, if that is known. */
  parents(id: string, version: string): readonly string[] | undefined {
    const known = this.#known.get(id);
    return known?.version === version ? known.parents : undefined;
  }

  /**
   * Adds what a record was found to name.
   *
   * @param version of a record that cannot change any more without getting another; without a space or a newline,
   * as the names are
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
   * Reads what others have written since.
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

  /** Takes in whole lines; false if they are about another home. */
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
   * Writes what was added, and the whole index anew if the file is damaged or mostly about layers that are gone. What
   * cannot be written is left out: the records it is about are read again.
   *
   * @param present the ids of the store's layers
   */
  save(present: ReadonlySet<string>): void {
    const isDue = this.#added.length > 0 || this.#known.size > 0 && !this.#isSound(present.size);
    if (!isDue) return;
    using lock = this.state.tryLockNamed("children");
    if (lock === undefined) return; // Whoever writes it now leaves the rest for the next time.
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

  /** Appends what was added; false if the file is not the one that was read. */
  #append(): boolean {
    const fd = tryOpen(this.#path, O_WRONLY | O_APPEND | O_NONBLOCK);
    if (fd < 0) return false;
    return withFd(fd, () => {
      const { size, inode } = fstat(fd, this.#stat);
      if (!isPlain(this.#stat) || inode !== this.#inode) return false;
      // What a killed process left of a line ends there.
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
      tryUnlink(temporary); // It takes room on what may be a full disk.
      throw error;
    }
  }

  /** Warns once of what is in the way for good. A full disk and a read-only store pass. */
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

/** Whether an open file is a regular one of no other name, through which another file would be written to. */
const isPlain = ({ isFile, links }: Stat): boolean => isFile && links === 1;

/** A line of the index. */
function line(text: string): string {
  return `${hash(encode(text), 0)} ${text}\n`;
}

/** What a line says, `undefined` if it is not as it was written. */
function content(bytes: Uint8Array): string | undefined {
  const expected = hash(bytes, HASH);
  for (let i = 0; i < expected.length; i++) {
    if (bytes[i] !== expected.charCodeAt(i)) return undefined;
  }
  return decode(bytes.subarray(HASH));
}

/** The hash of bytes from an offset on: FNV-1a of 32 bits (draft-eastlake-fnv), 8 hexadecimal digits. */
function hash(bytes: Uint8Array, start: number): string {
  const PRIME = 0x01000193, OFFSET_BASIS = 0x811c9dc5;
  let value = OFFSET_BASIS;
  for (let i = start; i < bytes.length; i++) value = Math.imul(value ^ bytes[i], PRIME);
  return (value >>> 0).toString(16).padStart(HASH - 1, "0");
}
