/**
 * Trees and changes to tar streams.
 *
 * Entries come in the order of `comparePaths`: a directory right before its content, and a whiteout
 * at the place of the name it hides, so that one pass over the tar applies it and one tree always
 * makes the same bytes. Memory holds the listings of the directories from the root down to the
 * walk's position, and the names of inodes with several names. The tar ends with two blocks of
 * zeros and nothing more: a layer without changes is 1024 zero bytes.
 *
 * @module
 */
import type { Change } from "../../tree/changes.ts";
import type { TreePlace } from "../../tree/confined.ts";
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
import { otherNames } from "./other_names.ts";
import { TarOutput } from "./output.ts";

export interface ExportOptions {
  /** Files carry host ids, the tar container ids. */
  readonly idMaps: IdMaps;
  /** Whether the root itself is an entry, `./`. */
  readonly includeRoot?: boolean;
  /**
   * The directories of the layers below, uppermost first, with whiteouts in the same form. Without
   * any, marks in the directory about layers below have no meaning, as for the mount itself.
   */
  readonly lowers?: readonly TreePlace[];
  /**
   * 0 keeps all work on the calling thread; 1 (the default) lets a Worker help with a large tree.
   */
  readonly workers?: number;
  /** See `TransferOptions`. */
  readonly allNames?: boolean;
  /** Called now and then, and at the end. */
  readonly onProgress?: (bytesWritten: number) => void;
  /** Gets a line about each entry that is left out or altered. */
  readonly warn?: Warn;
}

/**
 * Writes a whole directory as a tar. Deletions that hide nothing of the layers below are left out.
 *
 * @param directory open for reading; stays the caller's
 * @param out stays the caller's
 * @param form how deletions stand in the directory; `none`: nothing is a whiteout
 * @returns the bytes written
 * @throws {VeneerError} `invalid argument` for an owner that the id maps do not contain;
 * `failed precondition` for an entry of an upper directory of overlay whose content is elsewhere
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
 * Writes changes as a tar: added and changed entries are read below `directory`, and deletions
 * become whiteouts.
 *
 * @param directory the changed tree, open for reading; stays the caller's
 * @param changes in the order of `comparePaths`, every directory above a change being one itself
 * @param out stays the caller's
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
  const context = contextOf(options, false), { links } = context;
  const writer = new EntryWriter(output, context);
  using stack = new DirectoryStack(directory);
  if (options.includeRoot) writer.directory(stack.fd, new Uint8Array(0));
  const linked = options.allNames ? new Set<string>() : undefined;
  const exporter = new ChangesExport(stack, writer, linked);
  for (const change of changes) exporter.write(change);
  if (linked !== undefined && links.size > 0) {
    for (const path of otherNames(directory, links)) {
      if (!linked.has(path)) exporter.write({ kind: "C", path });
    }
  }
  return finish(output);
}

function contextOf(
  { idMaps, warn = () => {} }: ExportOptions,
  isUpper: boolean,
): TarContext & { readonly links: Links } {
  return { idMaps, warn, links: new Links(), isUpper };
}

/** Ends the tar: two blocks of zeros. */
function finish(output: TarOutput): number {
  output.zeros(2 * BLOCK);
  output.flush();
  return output.length;
}
