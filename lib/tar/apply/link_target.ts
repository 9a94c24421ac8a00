/**
 * The file that a hard link is another name of: the layer's own, or one of its parents, which is
 * copied up first so that both names are of one inode.
 *
 * @module
 */
import { EMLINK, ENOENT } from "../../../ffi/errno.ts";
import { Stat } from "../../../ffi/stat.ts";
import { copyEntryUp } from "../../tree/copy_up.ts";
import type { Parents } from "../../tree/parents.ts";
import type { VeneerError } from "../../base/errors.ts";
import { badTar, quoted } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import type { Whiteouts } from "./apply_whiteouts.ts";
import type { Opened, Placement } from "./placement.ts";

/** The parts of an apply that {@linkcode reachTarget} uses. */
export interface TargetContext {
  readonly whiteouts: Pick<Whiteouts, "look">;
  readonly placement: Pick<Placement, "meet">;
  readonly parents: Parents | undefined;
}

const stat = new Stat();

/**
 * Has the file that an entry links to be in the layer itself.
 *
 * @param above the directory that the file is in
 * @throws {VeneerError} `invalid argument` if there is none, or a directory
 */
export function reachTarget(
  entry: Entry,
  { fd, path }: Opened,
  { whiteouts, placement, parents }: TargetContext,
): void {
  const { name } = entry.linked;
  const own = whiteouts.look(fd, name);
  if (own === "present") return;
  const found = own === "absent" ? parents?.find(path, name, stat) : undefined;
  if (found === undefined || stat.isDirectory) throw missingTarget(entry, -ENOENT);
  placement.meet(path, fd);
  copyEntryUp(found, name, stat, fd);
}

/** The error of a hard link whose file is missing, or cannot get another name. */
export function missingTarget({ offset, text, linked }: Entry, result: number): VeneerError {
  const reason = result === -EMLINK
    ? "the file system allows no more links to"
    : "there is nothing (or a directory) in the layer at";
  return badTar(offset, `as a hard link: ${reason} ${quoted(linked.text)}`, text);
}
