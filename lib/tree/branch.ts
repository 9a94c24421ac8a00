/**
 * Reading one branch of a union mount, an upper or a lower directory, as the mount itself would:
 * which names it has, which it hides, and which of its directories hide all that is below.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { DT_CHR, DT_UNKNOWN, readListing } from "../../ffi/directory.ts";
import { type EntryName, entryName, NAME_MAX } from "../../ffi/entry_name.ts";
import { ENOENT } from "../../ffi/errno.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { S_IFCHR } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { fgetxattr } from "../../ffi/xattr.ts";
import {
  checkOverlayReferences,
  OPAQUE_MARKER,
  OVERLAY_OPAQUE_XATTR,
  WHITEOUT_META_PREFIX,
  WHITEOUT_PREFIX,
} from "./whiteouts.ts";
import { xattrNames } from "./xattr_names.ts";

/** A name that a branch has an opinion of. */
export interface BranchEntry {
  /** The name in the union, as text. */
  readonly text: string;
  /** The same, NUL-terminated. */
  readonly name: EntryName;
  /** Whether the branch has an entry of that name. */
  readonly present: boolean;
  /** Whether it hides the same name in the branches below. */
  readonly whiteout: boolean;
}

/** The state of a name in a branch: absent, hidden by a whiteout, or present. */
export type Lookup = "absent" | "hidden" | "present";

/** How a kind of union mount writes deletions down. */
export interface BranchForm {
  /** All names in an open directory, which must stand at its start; in no order. */
  entries(fd: number): BranchEntry[];
  /** Looks a name up; if it is `present`, `stat` tells of it. */
  lookup(fd: number, name: EntryName, stat: Stat): Lookup;
  /**
   * Whether an open directory hides all that the branches below have in it; asked if there are any.
   */
  isOpaque(fd: number): boolean;
}

const scratch = new Stat();

/** Whether a name is in a directory, with its `statx`. */
function find(fd: number, name: EntryName, stat: Stat): boolean {
  const result = tryStatat(fd, name, stat);
  if (result === -ENOENT) return false;
  unwrap(result, "statx", name);
  return true;
}

/** Whether it is overlay's whiteout: a character device 0:0. */
export function isOverlayWhiteout(stat: Stat): boolean {
  return stat.type === S_IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0;
}

/**
 * Whether an open directory has overlay's mark of an opaque one.
 *
 * @throws {VeneerError} `failed precondition` if its content is elsewhere
 */
export function isOverlayOpaque(fd: number): boolean {
  checkOverlayReferences(xattrNames(fd).names);
  const value = fgetxattr(fd, OVERLAY_OPAQUE_XATTR);
  return value?.length === 1 && value[0] === 0x79;
}

const overlay: BranchForm = {
  entries(fd) {
    const listing = readListing(fd);
    return listing.names.map((text, i) => {
      const name = listing.name(i), type = listing.type(i);
      const whiteout = (type === DT_CHR || type === DT_UNKNOWN) && find(fd, name, scratch) &&
        isOverlayWhiteout(scratch);
      return { text, name, present: !whiteout, whiteout };
    });
  },
  lookup(fd, name, stat) {
    if (!find(fd, name, stat)) return "absent";
    return isOverlayWhiteout(stat) ? "hidden" : "present";
  },
  isOpaque: isOverlayOpaque,
};

const PREFIX = encode(WHITEOUT_PREFIX);
const OPAQUE_NAME = entryName(OPAQUE_MARKER);

/** The name of aufs's whiteout of a name; `undefined` if that is too long for one. */
export function aufsWhiteoutOf(name: EntryName): EntryName | undefined {
  const length = PREFIX.length + name.length - 1;
  if (length > NAME_MAX) return undefined;
  const whiteout = new Uint8Array(length);
  whiteout.set(PREFIX);
  whiteout.set(name.subarray(0, -1), PREFIX.length);
  return entryName(whiteout);
}

const aufs: BranchForm = {
  entries(fd) {
    const listing = readListing(fd);
    const entries = new Map<string, BranchEntry>();
    for (const [i, text] of listing.names.entries()) {
      if (text.startsWith(WHITEOUT_META_PREFIX)) continue;
      const whiteout = text.startsWith(WHITEOUT_PREFIX);
      const hidden = whiteout ? text.slice(WHITEOUT_PREFIX.length) : text;
      const known = entries.get(hidden);
      entries.set(hidden, {
        text: hidden,
        name: whiteout ? entryName(hidden) : listing.name(i),
        present: !whiteout || known?.present === true,
        whiteout: whiteout || known?.whiteout === true,
      });
    }
    return [...entries.values()];
  },
  lookup(fd, name, stat) {
    if (find(fd, name, stat)) return "present";
    const whiteout = aufsWhiteoutOf(name);
    return whiteout !== undefined && find(fd, whiteout, scratch) ? "hidden" : "absent";
  },
  isOpaque: (fd) => find(fd, OPAQUE_NAME, scratch),
};

export const BRANCH_FORMS: Readonly<Record<"overlay" | "aufs", BranchForm>> = { overlay, aufs };
