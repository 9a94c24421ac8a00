/**
 * Docker's own daemon, if it runs on a store.
 *
 * It keeps separate records of the store's layers, some only in its memory, and takes no lock that
 * others could see. It is recognised by its open files below its data root, of which the database
 * of volumes exists in every version, at any path in the daemon's own mount namespace; and by
 * mounts of layers that no other program accounts for.
 *
 * @module
 */
import { basename, dirname } from "@std/path";
import { decode } from "../../ffi/cstring.ts";
import { O_PATH, O_RDONLY, readToEnd, tryOpen, withFd } from "../../ffi/files.ts";
import { fstat, tryLstat } from "../../ffi/stat.ts";
import { isId } from "../base/ids.ts";
import { describe, nameOf, pathsOf, processes, readLink } from "../base/processes.ts";
import { type MountInfo, parseMountInfo } from "../mount/mountinfo.ts";
import type { Home } from "./home.ts";
import type { RunState } from "./run_state.ts";

/** A store of layers, for {@linkcode dockerOn}. */
export interface DockerStore {
  /** The root of the stores, which is the `data-root` of a daemon that runs on it. */
  readonly root: string;
  /** The driver's home in it, absolute. */
  readonly home: string;
  /** Whether Veneer has a record of a mount below the home. */
  readonly isRecorded: (mount: MountInfo) => boolean;
}

/** The default path of a daemon's process id. */
const PID_FILE = "/run/docker.pid";

/** The directory of a daemon's records of images and layers, since Docker 1.10. */
const IMAGES = "image";

/** The files that every daemon has open in its data root. */
const DATABASE = "volumes/metadata.db";

/** The daemon that runs on a store, for messages: `dockerd (pid 42)`; `undefined` if none does. */
export function dockerOn(store: DockerStore): string | undefined {
  const pid = daemons().find((pid) => isDaemonOf(pid, store));
  return pid && describe(pid);
}

/**
 * The same for a driver's home, with the records of its mounts. Drivers ask in every command, so
 * processes are searched only if the root has the directory that every daemon makes in it.
 */
export function dockerOnHome(root: string, home: Home, state: RunState): string | undefined {
  if (tryLstat(`${root}/${IMAGES}`)?.isDirectory !== true) return undefined;
  const isRecorded = ({ mountPoint, device }: MountInfo) =>
    [basename(mountPoint), basename(dirname(mountPoint))].some((id) => {
      const recorded = isId(id) ? state.references(id) : undefined;
      return recorded?.target === mountPoint && recorded.device === device;
    });
  return dockerOn({ root, home: home.path, isRecorded });
}

/**
 * Processes of the daemon's name, which some distributions lengthen, and the one that wrote its id
 * down.
 */
function daemons(): string[] {
  const named = processes().filter((pid) => nameOf(pid)?.startsWith("dockerd"));
  const noted = /^\d{1,10}$/.exec(readText(PID_FILE)?.trim() ?? "")?.[0];
  const isNoted = noted !== undefined && !named.includes(noted) &&
    nameOf(noted)?.includes("docker") === true;
  return isNoted ? [...named, noted] : named;
}

function isDaemonOf(pid: string, { root, home, isRecorded }: DockerStore): boolean {
  const paths = pathsOf(pid);
  const targets = paths.map(readLink);
  const roots = [root, Deno.realPathSync(root)];
  if (targets.some((target) => roots.some((path) => isWithin(target, path)))) return true;
  const databases = paths.filter((_, i) => targets[i].endsWith(`/${DATABASE}`));
  // A daemon with its data elsewhere sees the same mounts.
  if (databases.length > 0) {
    return databases.some((path) => isSameFile(path, `${root}/${DATABASE}`));
  }
  return mountsOf(pid).some((mount) => isOfLayer(mount, home) && !isRecorded(mount));
}

/**
 * Whether a mount lies below a home, or is made of directories below it; names with a dot are
 * Veneer's own there.
 */
function isOfLayer({ mountPoint, type, superOptions }: MountInfo, home: string): boolean {
  if (mountPoint.startsWith(`${home}/`)) return !mountPoint.startsWith(".", home.length + 1);
  return (type === "overlay" || type === "aufs") && superOptions.includes(`=${home}/`);
}

function mountsOf(pid: string): MountInfo[] {
  return readText(`/proc/${pid}/mountinfo`)?.split("\n").filter(Boolean).map(parseMountInfo) ?? [];
}

/** Whether a link in `/proc` leads to a file. */
function isSameFile(link: string, path: string): boolean {
  const expected = tryLstat(path);
  const fd = tryOpen(link, O_PATH);
  if (fd < 0) return false; // It closed it meanwhile.
  const found = withFd(fd, (fd) => fstat(fd));
  return expected !== undefined && found.isSameInode(expected);
}

const isWithin = (path: string, directory: string) =>
  path === directory || path.startsWith(`${directory}/`);

/** `undefined` for a file that is not there, or of a process that has ended. */
function readText(path: string): string | undefined {
  const fd = tryOpen(path, O_RDONLY);
  if (fd < 0) return undefined;
  try {
    return withFd(fd, (fd) => decode(readToEnd(fd)));
  } catch {
    return undefined;
  }
}
