/**
 * The mounts of this process, from `/proc/self/mountinfo` (proc(5)).
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import { close, O_RDONLY, open, readFile, readToEnd } from "../../ffi/files.ts";
import { hasChanged } from "../../ffi/poll.ts";
import { type Stat, tryLstatMount } from "../../ffi/stat.ts";

const MOUNTINFO = "/proc/self/mountinfo";

/** One mount of this process's namespace. */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  /** `major:minor`. */
  readonly device: string;
  /** The directory of the file system that is the mount's root. */
  readonly root: string;
  readonly mountPoint: string;
  /** Per-mount options, such as `rw`, `nosuid`. */
  readonly options: readonly string[];
  /** `shared:N`, `master:N` …; none for a private mount. */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Of the file system, such as `lowerdir=…`. */
  readonly superOptions: string;
}

/** Every mount, in the order in which they were made. */
export function readMountInfo(): MountInfo[] {
  return readMountInfoWith("");
}

/**
 * The mounts whose line contains a text. In the text, spaces, commas and backslashes of names are
 * written in octal, as the kernel writes them. Only matching lines are parsed, which may be few of
 * thousands.
 */
export function readMountInfoWith(text: string): MountInfo[] {
  return linesWith(text, decode(readFile(MOUNTINFO)));
}

function linesWith(text: string, all: string): MountInfo[] {
  if (!all.includes(text)) return [];
  return all.split("\n").filter((line) => line !== "" && line.includes(text)).map(parseMountInfo);
}

/** The list that this thread watches, as it was read last. */
let watched: { readonly fd: number; readonly text: string } | undefined;

/**
 * The same for frequent calls: the list, which takes the kernel microseconds for each mount, is
 * read again only if mounts were made or taken down. A mount that was moved with a directory that
 * it is in may be listed at its old place. The list stays open until {@linkcode endWatch}.
 */
export function watchMountInfoWith(text: string): MountInfo[] {
  if (watched !== undefined && hasChanged(watched.fd)) endWatch();
  watched ??= beginWatch();
  return linesWith(text, watched.text);
}

/** The kernel reports changes since the opening, so the list must be read after it. */
function beginWatch(): { fd: number; text: string } {
  const fd = open(MOUNTINFO, O_RDONLY);
  try {
    return { fd, text: decode(readToEnd(fd)) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Closes the list that this thread watches; it is opened again when it is needed. */
export function endWatch(): void {
  if (watched !== undefined) close(watched.fd);
  watched = undefined;
}

/** The uppermost mount on a path. */
export function mountAt(path: string): MountInfo | undefined {
  return readMountInfo().findLast(({ mountPoint }) => mountPoint === path);
}

/** A line of mountinfo. */
export function parseMountInfo(line: string): MountInfo {
  const words = line.split(" ");
  const dash = words.indexOf("-", 6);
  const [id, parentId, device, root, mountPoint, options] = words;
  const [type, source, superOptions] = words.slice(dash + 1);
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    options: options.split(","),
    propagation: words.slice(6, dash),
    type,
    source: unescapeOctal(source),
    superOptions: unescapeOctal(superOptions),
  };
}

/** The kernel writes space, tab, newline and backslash as `\ooo`. */
export function unescapeOctal(text: string): string {
  if (!text.includes("\\")) return text;
  const bytes = encode(text);
  const result: number[] = [];
  const BACKSLASH = 0x5c;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === BACKSLASH) {
      result.push(parseInt(String.fromCharCode(...bytes.subarray(i + 1, i + 4)), 8));
      i += 3;
    } else {
      result.push(bytes[i]);
    }
  }
  return decode(Uint8Array.from(result));
}

/**
 * Whether something is mounted on a path. Asks `statx`, at a microsecond however many mounts there
 * are, and reads mountinfo only on kernels before 5.8.
 */
export function isMountPoint(path: string): boolean {
  return mountRoot(path) !== undefined;
}

/** The root of the mount on a path; `undefined` if there is none. */
function mountRoot(path: string): Stat | undefined {
  const stat = tryLstatMount(path);
  if (stat === undefined) return undefined;
  const isRoot = stat.isMountRoot ?? readMountInfo().some((mount) => mount.mountPoint === path);
  return isRoot ? stat : undefined;
}

/**
 * The device of the mount on a path as `major:minor`, as `statx` returns it; `undefined` if there
 * is no mount.
 */
export function mountedDevice(path: string): string | undefined {
  const root = mountRoot(path);
  return root && `${root.devMajor}:${root.devMinor}`;
}

/**
 * A directory as the root field of a mount of it has it: its file system's device, as mountinfo has
 * that, and its path there.
 *
 * @param path absolute, through no link
 */
export function treeOf(
  path: string,
): { readonly device: string; readonly root: string } | undefined {
  const isAbove = (point: string) =>
    point === "/" || path === point || path.startsWith(`${point}/`);
  // The last of the longest, which hides those before it.
  let below: MountInfo | undefined;
  for (const mount of readMountInfo().filter(({ mountPoint }) => isAbove(mountPoint))) {
    if (mount.mountPoint.length >= (below?.mountPoint.length ?? 0)) below = mount;
  }
  if (below === undefined) return undefined;
  const rest = below.mountPoint === "/" ? path : path.slice(below.mountPoint.length);
  return { device: below.device, root: `${below.root === "/" ? "" : below.root}${rest}` || "/" };
}

/** The mounts below a directory, in words, for messages: `a mount at /mnt/data`. */
export function mountsBelow(directory: string): string[] {
  return readMountInfo().filter(({ mountPoint }) => mountPoint.startsWith(`${directory}/`))
    .map(({ mountPoint }) => `a mount at ${mountPoint}`);
}
