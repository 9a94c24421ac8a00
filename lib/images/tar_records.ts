/**
 * The records of layers' tars in a store: one for each diff id.
 *
 * @module
 */
import { entryName } from "../../ffi/entry_name.ts";
import { EEXIST, ENOENT, EXDEV } from "../../ffi/errno.ts";
import { O_RDONLY, withFd, writeAll } from "../../ffi/files.ts";
import { tryLinkFile } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import type { Home } from "../store/home.ts";
import {
  type ConfinedPath,
  exists,
  inParent,
  list,
  makeDirectory,
  rename,
  tryOpen,
  tryUnlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { openUnnamed } from "../tree/unnamed_file.ts";
import { parseDigest } from "./digest.ts";
import { piecesOf } from "./spool.ts";

/** Their directory among Veneer's own records. */
export const TARS = "tars";

/** The records of one store. */
export class TarRecords {
  readonly #directory: ConfinedPath;

  constructor(home: Home) {
    this.#directory = home.own(TARS);
  }

  #path(diffId: string): ConfinedPath {
    return this.#directory.join(parseDigest(diffId, "layer").hex);
  }

  /** Opens a new file without a name for a record; the caller closes it. */
  create(): number {
    makeDirectory(this.#directory, 0o700);
    return openUnnamed(this.#directory);
  }

  /** Gives a complete record its name, unless there is one. */
  keep(fd: number, diffId: string): void {
    this.#link(fd, this.#path(diffId));
  }

  /** Gives a complete record its name, in place of one that there is. */
  replace(fd: number, diffId: string): void {
    const path = this.#path(diffId), next = path.withSuffix(".new");
    // A killed process left it.
    tryUnlink(next);
    this.#link(fd, next);
    rename(next, path);
  }

  #link(fd: number, path: ConfinedPath): void {
    const linked = this.#tryLink(fd, path);
    if (linked === 0 || linked === -EEXIST) return;
    if (linked !== -EXDEV) unwrap(linked, "linkat", path.text);
    // The home was mounted on itself after the file was made, and a link cannot cross mounts.
    withFd(this.create(), (copy) => {
      for (const bytes of piecesOf(fd)) writeAll(copy, bytes);
      const linked = this.#tryLink(copy, path);
      if (linked !== -EEXIST) unwrap(linked, "linkat", path.text);
    });
  }

  #tryLink(fd: number, path: ConfinedPath): number {
    return inParent(path, (directory) => tryLinkFile(fd, directory, entryName(path.name)));
  }

  /** Opens a record; `undefined` if it is missing. The caller closes it. */
  open(diffId: string): { readonly fd: number; readonly path: string } | undefined {
    const path = this.#path(diffId), fd = tryOpen(path, O_RDONLY);
    return fd === -ENOENT ? undefined : { fd: unwrapConfined(fd, "open", path), path: path.text };
  }

  /** Removes the records of layers that do not exist any more. */
  sweep(diffIds: ReadonlySet<string>): void {
    if (!exists(this.#directory)) return;
    for (const name of list(this.#directory)) {
      if (!diffIds.has(`sha256:${name}`)) tryUnlink(this.#directory.join(name));
    }
  }
}
