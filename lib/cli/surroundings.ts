/**
 * The requirements of commands on the process that they run in.
 *
 * @module
 */
import { O_PATH, readFile, tryOpen, withFd } from "../../ffi/files.ts";
import { resourceLimit, RLIMIT_NOFILE, setResourceLimit } from "../../ffi/limits.ts";
import { readlink } from "../../ffi/paths.ts";
import { VeneerError } from "../base/errors.ts";
import { nearestExisting } from "../store/home.ts";
import { escapeControls } from "../base/printable.ts";

/**
 * The descriptors that commands need. An apply with the help of a Worker needs the most: 256
 * directories with one file each for the Worker, 64 that are kept open, and about 25 of the
 * runtime. Only changes over more than 400 layers need more: one for each of these layers.
 */
const DESCRIPTORS = 512n;

/** The character that the runtime puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";

/**
 * Throws if the runtime could not decode an argument: otherwise another file than the named one
 * would be used.
 *
 * @param args the arguments from the runtime
 * @throws {VeneerError} `usage`
 */
export function checkArguments(args: readonly string[]): void {
  if (!args.some((arg) => arg.includes(REPLACEMENT))) return;
  const bytes = readFile("/proc/self/cmdline");
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new VeneerError(
      "usage",
      "an argument is not valid UTF-8; name files by a path that is, such as through a symbolic link",
    );
  }
}

/**
 * Throws if the real path of the root is not UTF-8: the runtime and SQLite cannot use such a path.
 *
 * @throws {VeneerError} `not supported`
 */
export function checkRoot(root: string): void {
  const above = tryOpen(nearestExisting(root, ""), O_PATH);
  // The driver will report the error.
  if (above < 0) return;
  const path = withFd(above, () => readlink(`/proc/self/fd/${above}`));
  if (path.isWellFormed()) return;
  throw new VeneerError(
    "not supported",
    `--root ${root} leads to ${escapeControls(path)}, which is not valid UTF-8; ` +
      "bind-mount it to another path and use that as --root",
  );
}

let former: number | undefined;

/**
 * The soft limit of open files before {@linkcode raiseDescriptorLimit}, for programs that this
 * process starts.
 */
export function formerOpenFiles(): number {
  return former ?? Number(resourceLimit(RLIMIT_NOFILE).soft);
}

/**
 * Raises the soft limit of open files to the hard limit.
 *
 * @throws {VeneerError} `limit exceeded` if the hard limit is too low
 */
export function raiseDescriptorLimit(): void {
  const { soft, hard } = resourceLimit(RLIMIT_NOFILE);
  former = Number(soft);
  if (hard < DESCRIPTORS) {
    throw new VeneerError(
      "limit exceeded",
      `only ${hard} files may be open at a time, and ${DESCRIPTORS} are needed; raise the limit (ulimit -n)`,
    );
  }
  if (soft < hard) setResourceLimit(RLIMIT_NOFILE, { soft: hard, hard });
}
