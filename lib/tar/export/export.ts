/**
 * Trees and changes to tar streams.
 *
 * Entries come in the order of `comparePaths`: a directory right before what it holds, and a whiteout at
 * the place of the name it hides, so that one pass over the tar applies it and one tree always makes the
 * same bytes. What is kept in memory are the listings of the directories from the root down to where the
 * walk stands, and the names of inodes that have more of them. The tar ends with two blocks of zeros and
 * nothing more: a layer without changes is 1024 zero bytes.
 *
 * @module
 */
import type { Change } from "../../tree/changes.ts";
import { DirectoryStack } from "../../tree/directory_stack.ts";
import { Parents } from "../../tree/parents.ts";
import type { IdMaps } from "../../base/id_maps.ts";
import type { Warn } from "../../base/warn.ts";
import type { WhiteoutForm } from "../../tree/whiteouts.ts";
import { BLOCK } from "../header.ts";
import { EntryWriter, type TarContext } from "./entry_writer.ts";
import { ChangesExport } from "./export_changes.ts";
import { WorkerRuns } from "./worker_runs.ts";
import { TreeExport } from "./export_tree.ts";
import { Links } from "./links.ts";
import { TarOutput } from "./output.ts";

export interface ExportOptions {
  /** Files carry host ids, the tar container ids. */
  readonly idMaps: IdMaps;
  /** Whether the root itself is an entry, `./`. */
  readonly includeRoot?: boolean;
  /**
   * The directories of the layers below, uppermost first, with whiteouts in the same form. Without
   * any, what the directory says of layers below means nothing, as for the mount itself.
   */
  readonly lowers?: readonly string[];
  /** 0 keeps all work on the calling thread; 1 (the default) lets a Worker help with a large tree. */
  readonly workers?: number;
  /** Called now and then, and at the end. */
  readonly onProgress?: (bytesWritten: number) => void;
  /** Told, in one line, what is not in the tar or not as it was. */
  readonly warn?: Warn;
}

/**
 * Writes a whole directory as a tar. Deletions that hide nothing of the layers below are left out.
 *
 * @param directory open for reading; stays the caller's
 * @param out       stays the caller's
 * @param form      how deletions stand in the directory; `none`: nothing is a whiteout
 * @returns the bytes written
 * @throws {VeneerError} `invalid argument` for an owner that the id maps do not hold; `failed precondition` for
 * what of an upper directory of overlay has its content elsewhere
 * @throws {SyscallError}
 */
export function exportTree(
  directory: number,
  out: number,
  form: WhiteoutForm,
  options: ExportOptions,
): number {
  const output = new TarOutput(out, options.onProgress);
  const { lowers = [] } = options;
  const isUpper = form === "overlay" && lowers.length > 0;
  const context = contextOf(options, isUpper);
  const writer = new EntryWriter(output, context);
  const runs = options.workers === 0 ? undefined : new WorkerRuns(output, context);
  using scope = new DisposableStack();
  const stack = scope.use(new DirectoryStack(directory));
  const parents = form === "none" || lowers.length === 0
    ? undefined
    : scope.use(new Parents(directory, lowers, form));
  try {
    new TreeExport(stack, writer, form, parents, runs).run(options.includeRoot ?? false);
    return finish(output);
  } finally {
    runs?.close();
  }
}

/**
 * Writes changes as a tar: what was added or changed is read below `directory`, and what was deleted
 * becomes a whiteout.
 *
 * @param directory the changed tree, open for reading; stays the caller's
 * @param changes   in the order of `comparePaths`, every directory above a change being one itself
 * @param out       stays the caller's
 * @returns the bytes written
 * @throws {VeneerError} `invalid argument` for an owner that the id maps do not hold
 * @throws {SyscallError}
 */
export function exportChanges(
  directory: number,
  changes: Iterable<Change>,
  out: number,
  options: ExportOptions,
): number {
  const output = new TarOutput(out, options.onProgress);
  const writer = new EntryWriter(output, contextOf(options, false));
  using stack = new DirectoryStack(directory);
  if (options.includeRoot) writer.directory(stack.fd, new Uint8Array(0));
  const exporter = new ChangesExport(stack, writer);
  for (const change of changes) exporter.write(change);
  return finish(output);
}

function contextOf({ idMaps, warn = () => {} }: ExportOptions, isUpper: boolean): TarContext {
  return { idMaps, warn, links: new Links(), isUpper };
}

/** Ends the tar: two blocks of zeros. */
function finish(output: TarOutput): number {
  output.zeros(2 * BLOCK);
  output.flush();
  return output.length;
}
