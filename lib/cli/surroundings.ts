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
 * As many descriptors as commands need. The most are taken by an apply that a Worker helps: 256
 * directories with a file for the Worker each, 64 that are kept open, and the runtime's, which are
 * about 25. Only changes against more than 200 layers below take more, two for each of those.
 */
const DESCRIPTORS = 512n;

/** The character that the runtime puts in place of bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";

/**
 * Refuses arguments that the runtime could not read as they are: another file than the one that was
 * named would be used.
 *
 * @param args as the runtime has them
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
 * Refuses a root that is, or will be, at a path that is not UTF-8: the runtime and SQLite take no
 * such path.
 *
 * @throws {VeneerError} `not supported`
 */
export function checkRoot(root: string): void {
  const above = tryOpen(nearestExisting(root, ""), O_PATH);
  // The driver will report why it cannot be opened.
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
 * The soft limit of open files before {@linkcode raiseDescriptorLimit}: that of programs which are
 * started from here.
 */
export function formerOpenFiles(): number {
  return former ?? Number(resourceLimit(RLIMIT_NOFILE).soft);
}

/**
 * Raises the limit of open files as far as this process may.
 *
 * @throws {VeneerError} `limit exceeded` if that is too few
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
