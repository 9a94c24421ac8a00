/**
 * One entry of a tar, as the reader fills it: reused from entry to entry, so that a layer of a
 * hundred thousand files makes no garbage.
 *
 * @module
 */
import { LayerPath, type LinkTarget } from "./layer_path.ts";
import type { Xattr } from "../header.ts";
import type { SparseMap } from "./sparse.ts";

/** The content of a header and its extensions: one entry. */
export class Entry extends LayerPath {
  /** The offset of the entry in the tar, its extension headers included, in bytes. */
  offset = 0;
  /** A `typeflag` of `header.ts`; a regular file is always `REGULAR`. */
  type = 0;
  /** Permission bits with setuid, setgid and sticky. */
  mode = 0;
  uid = 0;
  gid = 0;
  /** Bytes of data that follow. */
  size = 0;
  seconds = 0;
  nanos = 0;
  accessSeconds = 0;
  accessNanos = 0;
  /** Of a device. */
  major = 0;
  minor = 0;
  xattrs: readonly Xattr[] = [];
  sparse: SparseMap | undefined;

  /** The target of a symbolic link. */
  target: LinkTarget | undefined;
  /** Of a hard link: the entry that it is another name of. */
  readonly linked = new LayerPath();

  /** The file's length: of a sparse one, with its holes. */
  get fileSize(): number {
    return this.sparse === undefined ? this.size : this.sparse.size;
  }
}
