/**
 * A file system on a disk that logs all writes in the order in which they become durable, by
 * device-mapper's target `log-writes`.
 *
 * The target logs a write only after a flush of the disk, or at once if the write bypasses the
 * disk's cache. So the first N entries of the log, for any N, are the state of the disk after a
 * power cut at that point. When a commit returns, all its writes must be in the log. A mark, which
 * is logged at once, records this point. Each of these states contains none or a part of the writes
 * that were not flushed; with real disks both happen.
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

/** The largest log of a case, as a sparse file. */
const LOG_SIZE = 3 * 2 ** 30;

/** The reason why this host cannot have such a disk; `undefined` if it can. */
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
   * @param directory an empty directory; the caller deletes it
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

  /**
   * Writes a mark, which is one word, into the log. All writes that were promised before must be in
   * the log before it.
   */
  mark(text: string): void {
    must("dmsetup", "message", "--", this.#name, "0", "mark", text);
  }

  /** Removes the disk, and returns the log, which also has the writes of the removal. */
  end(): WriteLog {
    this.#stack.dispose();
    return new WriteLog(this.#kind, this.#path);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** An entry of a log. */
interface Entry {
  readonly sector: bigint;
  readonly sectors: bigint;
  readonly flags: bigint;
  /** The offset of its data in the log, in bytes. */
  readonly at: number;
  /** The text of a mark. */
  readonly mark?: string;
}

/** The state of the disk after a power cut. */
export interface CutDisk {
  readonly mountPoint: string;
  /** The marks before the power cut. */
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

  /** The number of entries before the first mark, when nothing was promised yet. */
  get begin(): number {
    return this.#entries.findIndex(({ mark }) => mark !== undefined);
  }

  /**
   * Mounts the state of the disk before each of some entries, one after another, like a system that
   * starts again after a power cut. The writes of `look` do not show in the next state.
   *
   * @param cuts the numbers of the entries, ascending
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
    // A loop device returns zeros for discarded blocks.
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
