/**
 * Refusals by the kernel or a file system that are due to an entry: faults of the tar, reported as
 * such.
 *
 * The reader checks as much as it can. But only the kernel knows valid access lists and
 * capabilities, and only the file system the longest file or target of a link.
 *
 * @module
 */
import {
  E2BIG,
  EACCES,
  EFBIG,
  EINVAL,
  ELOOP,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ERANGE,
  SyscallError,
} from "../../../ffi/errno.ts";
import { NameError } from "../../../ffi/entry_name.ts";
import { VeneerError } from "../../base/errors.ts";
import { badTar, quoted } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import { PathError } from "../read/layer_path.ts";

/** How `Attributes` names the calls that set an attribute: the call, a space, the attribute. */
const SETS_XATTR = /^[fl]setxattr (.*)$/s;

const XATTR_REASONS: Readonly<Record<number, string>> = {
  [EINVAL]: "its value is malformed",
  [E2BIG]: "its value is longer than 64 KiB",
  [ERANGE]: "its name is too long",
  [EACCES]: "it is for directories only",
  // Ext4 has one block for all attributes of a file, btrfs a leaf for each.
  [ENOSPC]: "the file system is full, or has no room for so much in the attributes of one file",
};

/**
 * The error to throw in place of one that applying an entry ended with: `invalid argument` if it
 * was the entry's fault, `limit exceeded` if its attributes have no room, or the very same.
 */
export function refused(error: unknown, entry: Entry): unknown {
  // A path gets to the second wall if a link led to it.
  if (error instanceof PathError || error instanceof NameError) {
    return badTar(entry.offset, error.message, entry.text);
  }
  if (!(error instanceof SyscallError)) return error;
  const reason = reasonOf(error, entry);
  if (reason === undefined) return error;
  const { code, message } = badTar(entry.offset, reason, entry.text);
  const isLimit = error.errno === ENOSPC;
  return new VeneerError(isLimit ? "limit exceeded" : code, message, { cause: error });
}

function reasonOf({ syscall, errno }: SyscallError, entry: Entry): string | undefined {
  const attribute = SETS_XATTR.exec(syscall)?.[1];
  if (attribute !== undefined) {
    const why = XATTR_REASONS[errno];
    return why && `the extended attribute ${quoted(attribute)} is refused: ${why}`;
  }
  switch (errno) {
    case EFBIG:
      return tooLarge(entry);
    case EINVAL:
      // An offset beyond the file system's largest file.
      return syscall === "lseek" || syscall === "ftruncate" ? tooLarge(entry) : undefined;
    case ENAMETOOLONG:
      return syscall === "symlinkat"
        ? "the target of the link is longer than this file system takes"
        : "its path, or the path that links lead to, is longer than this file system takes";
    case ENOENT:
      // Missing directories on a path are made, except behind a dangling link.
      return syscall === "openat2"
        ? "its path leads through a link to a place that does not exist and cannot be made"
        : undefined;
    case ELOOP:
      return "its path leads through more than 40 symbolic links";
    default:
      return undefined;
  }
}

function tooLarge({ fileSize }: Entry): string {
  return `a file of ${fileSize} bytes is more than this file system or \`ulimit -f\` allows`;
}
