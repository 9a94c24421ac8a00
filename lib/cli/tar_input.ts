/**
 * The tar that a command applies: a file, or standard input.
 *
 * @module
 */
import { O_RDONLY, open, STDIN_FILENO, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { isCompressed } from "../tar/read/compression.ts";
import { refuseImageArchive } from "./image_archive.ts";

/**
 * Runs `use` on the open tar.
 *
 * @param file a path, or `-` for standard input
 * @throws {VeneerError} `usage` if standard input is a terminal
 */
export function withTarInput<T>(file: string, use: (input: number) => T): T {
  if (file !== "-") return withFd(open(file, O_RDONLY), use);
  if (Deno.stdin.isTerminal()) {
    throw new VeneerError("usage", "standard input is a terminal; name a tar or use a pipe");
  }
  return use(STDIN_FILENO);
}

/**
 * The bytes of the tar, if known: for a regular file that is not compressed.
 *
 * @throws {VeneerError} `invalid argument` for a directory or the archive of an image
 */
export function inputSize(input: number, file: string): number | undefined {
  const stat = fstat(input);
  if (stat.isDirectory) {
    throw new VeneerError("invalid argument", `${file} is a directory; name a tar`);
  }
  if (!stat.isFile || isCompressed(input)) return undefined;
  refuseImageArchive(input, file === "-" ? "the input" : file);
  return stat.size;
}
