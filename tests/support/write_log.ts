/**
 * A disk that records all that is written to it, in the order in which a power cut could lose it: a
 * file system on device-mapper's target `log-writes`.
 *
 * The target holds a write back from its log until the disk was told to flush what came before, or
 * the write itself is one through the cache. So any beginning of the log is what a disk has that
 * lost its power at that moment, and of a commit that has returned, all must be in what the log had
 * then: a mark, which goes into the log as it stands, tells the moment. What a disk keeps of writes
 * that nothing has flushed is left out of each beginning, or a part of it is in: both happen.
 *
 * Formats: `Documentation/admin-guide/device-mapper/log-writes.rst` of the kernel, and the structures
 * of `drivers/md/dm-log-writes.c`.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { close } from "../../ffi/files.ts";
import { attach } from "../../ffi/loop.ts";
import { type ImageKind, KINDS } from "../runner/images.ts";
import { lacksFileSystem, must, run, unmountBelow } from "./cases.ts";

/** `WRITE_LOG_MAGIC` and `WRITE_LOG_VERSION`. */
const MAGIC = 0x6a736677736872n, VERSION = 1n;

/** `LOG_DISCARD_FLAG` and `LOG_MARK_FLAG`. */
const DISCARD = 1n << 2n, MARK = 1n << 3n;

/** `struct log_write_entry`: sector, number of sectors, flags, length of a mark, each of 64 bits. */
const HEADER = 32;

/** What a log of a case may grow to; only what is written takes room. */
const LOG_SIZE = 3 * 2 ** 30;

/** Why there is no such disk here, if there is none. */
export function lacksWriteLog(kind: ImageKind): string | undefined {
  const lacking = lacksFileSystem(KINDS[kind].type);
  if (lacking !== undefined) return lacking;
  run("modprobe", "dm-log-writes");
  return run("dmsetup", "targets").stdout.includes("log-writes")
    ? undefined
    : "the kernel has no dm-log-writes";
}

/** A mounted file system on such a disk. */
export class LoggedDisk implements Disposable {
  readonly mountPoint: string;
  readonly #name = `log-${crypto.randomUUID()}`;
  readonly #path: (name: string) => string;
  readonly #kind: ImageKind;
  readonly #stack = new DisposableStack();

  /**
   * @param directory an empty one, which the caller deletes
   * @param bytes the disk's size
   */
  constructor(kind: ImageKind, directory: string, bytes: number) {
    this.#kind = kind;
    const path = this.#path = (name: string) => join(directory, name);
    this.mountPoint = path("disk");
    Deno.mkdirSync(this.mountPoint);
    const { mkfs: [program, ...args], type } = KINDS[kind];
    makeSparse(path("data"), bytes);
    makeSparse(path("log"), LOG_SIZE);
    must(program, ...args, path("data"));
    must("cp", "--sparse=always", path("data"), path("before"));
    const data = attach(path("data"), { autoclear: true });
    const log = attach(path("log"), { autoclear: true });
    try {
      const table = `0 ${bytes / 512} log-writes ${data.path} ${log.path}`;
      must("dmsetup", "create", this.#name, "--table", table);
    } finally {
      close(data.fd);
      close(log.fd);
    }
    this.#stack.defer(() => void must("dmsetup", "remove", "--retry", this.#name));
    must("dmsetup", "mknodes", this.#name);
    must("mount", "-t", type, `/dev/mapper/${this.#name}`, this.mountPoint);
    this.#stack.defer(() => unmountBelow(this.mountPoint));
  }

  /** Writes a mark, a word, into the log: what was promised until now must be in it. */
  mark(text: string): void {
    must("dmsetup", "message", "--", this.#name, "0", "mark", text);
  }

  /** Takes the disk away; returns the log. What is written by that is in it, too. */
  end(): WriteLog {
    this.#stack.dispose();
    return new WriteLog(this.#kind, this.#path);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** A place in a log. */
interface Entry {
  readonly sector: bigint;
  readonly sectors: bigint;
  readonly flags: bigint;
  /** Where its data begins in the log, in bytes. */
  readonly at: number;
  /** Of a mark. */
  readonly mark?: string;
}

/** A disk as it was at some moment. */
export interface CutDisk {
  readonly mountPoint: string;
  /** The marks that were made until then. */
  readonly marks: readonly string[];
}

/** The log of a disk. */
export class WriteLog {
  readonly #entries: readonly Entry[];
  readonly #sectorSize: number;

  constructor(readonly kind: ImageKind, readonly path: (name: string) => string) {
    using file = Deno.openSync(path("log"));
    const first = new DataView(read(file, 0, 512).buffer);
    assertEquals(first.getBigUint64(0, true), MAGIC);
    assertEquals(first.getBigUint64(8, true), VERSION);
    const count = Number(first.getBigUint64(16, true));
    this.#sectorSize = first.getUint32(24, true);
    this.#entries = this.#read(file, count);
  }

  #read(file: Deno.FsFile, count: number): Entry[] {
    const size = this.#sectorSize, entries: Entry[] = [];
    for (let at = size; entries.length < count;) {
      const bytes = read(file, at, size), header = new DataView(bytes.buffer);
      const [sector, sectors, flags, length] = [0, 8, 16, 24].map((field) =>
        header.getBigUint64(field, true)
      );
      const mark = flags & MARK
        ? new TextDecoder().decode(bytes.subarray(HEADER, HEADER + Number(length)))
        : undefined;
      entries.push({ sector, sectors, flags, at: at + size, mark });
      at += size + (flags & DISCARD ? 0 : Number(sectors) * size);
    }
    return entries;
  }

  /** The number of entries: a cut may come before each of them. */
  get length(): number {
    return this.#entries.length;
  }

  /** How many entries come before the first mark, while nothing was promised. */
  get begin(): number {
    return this.#entries.findIndex(({ mark }) => mark !== undefined);
  }

  /**
   * Mounts the disk as it was before each of some entries, one after another, as a system does that
   * starts again after the power cut. What `look` writes to it is gone at the next.
   *
   * @param cuts numbers of entries, ascending
   */
  replay(cuts: readonly number[], look: (disk: CutDisk) => void): void {
    const mountPoint = this.path("disk"), image = this.path("cut"), marks: string[] = [];
    using log = Deno.openSync(this.path("log"));
    using disk = Deno.openSync(this.path("before"), { read: true, write: true });
    let done = 0;
    for (const cut of cuts) {
      for (; done < cut; done++) {
        const entry = this.#entries[done];
        if (entry.mark !== undefined) marks.push(entry.mark);
        else this.#redo(entry, log, disk);
      }
      must("cp", "--sparse=always", this.path("before"), image);
      must("mount", "-t", KINDS[this.kind].type, "-o", "loop", image, mountPoint);
      try {
        look({ mountPoint, marks: [...marks] });
      } catch (cause) {
        throw new Error(`power cut before write ${cut} of ${this.length}`, { cause });
      } finally {
        unmountBelow(mountPoint);
        Deno.removeSync(image);
      }
    }
  }

  #redo({ sector, sectors, flags, at }: Entry, log: Deno.FsFile, disk: Deno.FsFile): void {
    const size = this.#sectorSize, length = Number(sectors) * size;
    if (length === 0) return; // A flush.
    disk.seekSync(Number(sector) * size, Deno.SeekMode.Start);
    // What was discarded is zeros on a loop device.
    const data = flags & DISCARD ? new Uint8Array(length) : read(log, at, length);
    for (let written = 0; written < length;) written += disk.writeSync(data.subarray(written));
  }
}

function makeSparse(path: string, bytes: number): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  file.truncateSync(bytes);
}

function read(file: Deno.FsFile, at: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(at, Deno.SeekMode.Start);
  for (let got = 0; got < length;) {
    const count = file.readSync(bytes.subarray(got));
    assert(count !== null, "the log ends too early");
    got += count;
  }
  return bytes;
}
