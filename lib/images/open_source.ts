/**
 * Opens an image: a directory, a tar, or a stream. A stream is kept in a file without a name while
 * it is read.
 *
 * @module
 */
import { codeOf, messageOf, reworded, VeneerError } from "../base/errors.ts";
import { close, lseek, O_RDONLY, open, SEEK_SET, STDIN_FILENO, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import type { Home } from "../store/home.ts";
import { isZeroBlock } from "../tar/header.ts";
import { isCompressed } from "../tar/read/compression.ts";
import type { DecompressOptions } from "../tar/read/decompress.ts";
import { openTarInput } from "../tar/read/input.ts";
import { ArchiveSource } from "./archive.ts";
import { badImage } from "./json.ts";
import { openStaged } from "./spool.ts";
import { DirectorySource, type ImageSource } from "./source.ts";

/** The most bytes that are copied at a time. */
const PIECE = 64 << 20;

/**
 * Opens an image.
 *
 * @param path the path of a directory or a tar, plain, gzip or zstd; `-` for standard input
 * @param home the store's home; a stream or a compressed tar is kept on its disk meanwhile
 * @param how how a compressed tar is decompressed
 * @throws {VeneerError} `limit exceeded` if that disk is too small; `invalid argument` if it is
 * neither a directory nor a tar
 */
export function openSource(path: string, home: Home, how: DecompressOptions): ImageSource {
  if (path === "-") {
    return opened(() => spool(STDIN_FILENO, "the input", home, how), "the input");
  }
  const fd = open(path, O_RDONLY);
  const stat = fstat(fd);
  if (stat.isDirectory) return new DirectorySource(path, fd);
  if (stat.isFile && !isCompressed(fd)) return opened(() => fd, path);
  return opened(() => withFd(fd, () => spool(fd, path, home, how)), path);
}

function opened(open: () => number, name: string): ImageSource {
  try {
    const fd = open();
    try {
      return new ArchiveSource(name, fd);
    } catch (error) {
      close(fd);
      throw error;
    }
  } catch (error) {
    throw codeOf(error) === "invalid argument" && !messageOf(error).includes(name)
      ? reworded(error, `${name}: ${messageOf(error)}`)
      : error;
  }
}

/** Copies a tar, decompressed, to a file without a name; returns its descriptor. */
function spool(input: number, name: string, home: Home, how: DecompressOptions): number {
  const staging = home.own("staging"), fd = openStaged(home);
  try {
    using tar = openTarInput(input, how);
    const { text } = staging, { bytes, at } = tar.window;
    // An endless stream of zeros begins like an empty tar.
    if (isZeroBlock(bytes, at)) throw badImage(`${name} is a tar without entries`);
    while (tar.window.copyTo(fd, PIECE, { text }) === PIECE);
    lseek(fd, 0n, SEEK_SET);
    return fd;
  } catch (error) {
    close(fd);
    if (codeOf(error) !== "limit exceeded") throw error;
    throw new VeneerError(
      "limit exceeded",
      `${name} does not fit on the disk of ${staging}, where it is kept while it is read: ` +
        `${messageOf(error)}; make room there, or unpack it and import the directory or tar`,
      { cause: error },
    );
  }
}
