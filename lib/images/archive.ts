/**
 * The files of an image in a tar. The tar is listed once, and then its files are read in place.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { close, lseek, SEEK_SET } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { DIRECTORY, HARD_LINK, REGULAR, SYMBOLIC_LINK } from "../tar/header.ts";
import { TarReader } from "../tar/read/reader.ts";
import { DescriptorWindow } from "../tar/read/descriptor_window.ts";
import { badImage } from "./json.ts";
import type { ImageFile, ImageSource } from "./source.ts";

/** The most entries of a tar: an image has some hundreds at most. */
const MOST_ENTRIES = 100_000;

/** The most links that are followed to a file. */
const MOST_LINKS = 8;

/** A file, or the path that a link points to. */
type Found = { readonly offset: number; readonly size: number } | { readonly target: string };

/** An image in an uncompressed tar. */
export class ArchiveSource implements ImageSource {
  readonly #files = new Map<string, Found>();
  readonly #size: number;

  /**
   * Finds the files.
   *
   * @param fd a regular file; this object closes it
   * @throws {VeneerError} `invalid argument` if it is not a complete tar
   */
  constructor(readonly name: string, readonly fd: number) {
    this.#size = fstat(fd).size;
    lseek(fd, 0n, SEEK_SET);
    // The image names the files that it needs, so the end-of-archive marker is not needed as a
    // proof.
    const reader = new TarReader(DescriptorWindow.over(fd), () => {});
    for (let entries = 0; reader.next(); entries++) {
      if (entries === MOST_ENTRIES) {
        throw badImage(`${name} has more than ${MOST_ENTRIES} entries: it is not an image`);
      }
      this.#add(reader);
    }
  }

  #add({ entry, window }: TarReader): void {
    const path = entry.pathLength === 0 ? "" : entry.text;
    if (path === "" || entry.type === DIRECTORY) return;
    if (entry.type === REGULAR && entry.sparse === undefined) {
      const { size } = entry, offset = window.position;
      if (offset + size > this.#size) {
        throw badImage(`${this.name} ends inside ${path}: it is cut short`);
      }
      this.#files.set(path, { offset, size });
    } else if (entry.type === HARD_LINK) {
      this.#files.set(path, { target: entry.linked.text });
    } else if (entry.type === SYMBOLIC_LINK) {
      const target = resolveLink(path, decode(entry.target!.subarray(0, -1)));
      if (target !== undefined) this.#files.set(path, { target });
    }
  }

  open(path: string): ImageFile | undefined {
    let found = this.#files.get(path);
    for (let links = 0; found !== undefined && "target" in found; links++) {
      if (links === MOST_LINKS) throw badImage(`${this.name}: ${path} is a link without an end`);
      found = this.#files.get(found.target);
    }
    return found && { fd: this.fd, ...found, [Symbol.dispose]: () => {} };
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}

/** The path that a symbolic link points to; `undefined` if it leads out of the archive. */
function resolveLink(path: string, target: string): string | undefined {
  if (target.startsWith("/")) return undefined;
  const parts = path.split("/").slice(0, -1);
  for (const part of target.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join("/");
}
