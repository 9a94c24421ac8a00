/**
 * Reads a directory without changing it or its access times, through a read-only copy of its mount.
 * The copy is detached, and goes away with its descriptor.
 *
 * @module
 */
import { ELOOP, ENOENT, ENOSYS, ENOTDIR } from "../../../ffi/errno.ts";
import { readNames } from "../../../ffi/directory.ts";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  pread,
  RESOLVE_INSIDE,
  tryOpen,
  tryOpenat2,
  withFd,
} from "../../../ffi/files.ts";
import { tryCloneProtected } from "../../../ffi/fsmount.ts";
import { fstat } from "../../../ffi/stat.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { VeneerError } from "../../base/errors.ts";

/** The most bytes of a record that are read: 64 MiB. */
const LARGEST_RECORD = 64 << 20;

/** A directory, open until it is disposed of. */
export class FrozenDirectory implements Disposable {
  readonly #copy: number;

  private constructor(readonly path: string, copy: number) {
    this.#copy = copy;
  }

  /**
   * Opens a directory; `undefined` if it does not exist.
   *
   * @param path an absolute path, whose last component is not a link
   * @throws {VeneerError} `not supported` if the kernel is older than Linux 5.12
   */
  static open(path: string): FrozenDirectory | undefined {
    const fd = tryOpen(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (fd === -ENOENT || fd === -ENOTDIR) return undefined;
    return withFd(unwrap(fd, "open", path), (fd) => {
      const copy = tryCloneProtected(fd);
      if (copy !== -ENOSYS) {
        return new FrozenDirectory(path, unwrap(copy, "open_tree", path));
      }
      throw new VeneerError(
        "not supported",
        `${path} cannot be read without a trace: this needs Linux 5.12 or later`,
      );
    });
  }

  /**
   * Opens a path below it; `undefined` if it is missing. No link is followed. The caller closes it.
   *
   * @throws {VeneerError} `corrupt store` if the path has a link
   */
  open(path: string, flags: number = O_RDONLY): number | undefined {
    const fd = tryOpenat2(this.#copy, path, flags | O_NONBLOCK, RESOLVE_INSIDE);
    if (fd === -ENOENT || fd === -ENOTDIR) return undefined;
    if (fd !== -ELOOP) return unwrap(fd, "open", `${this.path}/${path}`);
    throw new VeneerError("corrupt store", `${this.path}/${path} leads through a link`);
  }

  /** The names in a directory, sorted; none if it is missing. */
  list(path: string): string[] {
    const fd = this.open(path, O_RDONLY | O_DIRECTORY);
    return fd === undefined ? [] : withFd(fd, (fd) => readNames(fd).sort());
  }

  /**
   * Reads a record; `undefined` if it is missing. @throws {VeneerError} `corrupt store` if it is
   * huge
   */
  read(path: string): Uint8Array<ArrayBuffer> | undefined {
    const fd = this.open(path);
    return fd === undefined ? undefined : withFd(fd, (fd) => this.#readAll(fd, path));
  }

  #readAll(fd: number, path: string): Uint8Array<ArrayBuffer> {
    const { isFile, size } = fstat(fd);
    if (!isFile || size > LARGEST_RECORD) {
      const what = isFile ? `has ${size} bytes, and 64 MiB is the most` : "is not a file";
      throw new VeneerError("corrupt store", `${this.path}/${path} ${what}`);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (let got = -1; at < size && got !== 0; at += got) {
      got = pread(fd, bytes.subarray(at), size - at, BigInt(at));
    }
    return bytes.subarray(0, at);
  }

  /** Reads a short text, without the white space around it; `undefined` if it is missing. */
  text(path: string): string | undefined {
    const bytes = this.read(path);
    return bytes && new TextDecoder().decode(bytes).trim();
  }

  [Symbol.dispose](): void {
    close(this.#copy);
  }
}
