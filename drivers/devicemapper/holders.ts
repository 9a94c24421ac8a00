/**
 * The users of a busy device, for messages.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { O_PATH, open, readFile, withFd } from "../../ffi/files.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { names, pathsOf, processes } from "../../lib/base/processes.ts";
import { parseMountInfo } from "../../lib/mount/mountinfo.ts";

/** The most users that one line shows. */
const MOST = 3;

/**
 * The users of a block device: devices on top of it, mounts in any process's namespace, and
 * processes that have the device open, or files in a detached mount of it.
 */
export function holdersOfDevice(major: number, minor: number): string[] {
  const found = names(`/sys/dev/block/${major}:${minor}/holders`).map((name) => `device ${name}`);
  for (const pid of processes()) {
    if (found.length >= MOST) break;
    const point = mountPointOf(pid, `${major}:${minor}`);
    if (point !== undefined) {
      // All processes of a namespace see the same mount, so only the first one is named.
      const text = `a mount at ${point}`;
      if (!found.some((other) => other.startsWith(text))) {
        found.push(`${text} (seen by ${show(pid)})`);
      }
    } else if (uses(pid, major, minor)) {
      found.push(show(pid));
    }
  }
  return found;
}

function mountPointOf(pid: string, device: string): string | undefined {
  const line = read(`/proc/${pid}/mountinfo`).split("\n")
    .find((text) => text.split(" ", 3)[2] === device);
  return line && parseMountInfo(line).mountPoint;
}

const stat = new Stat();

function uses(pid: string, major: number, minor: number): boolean {
  return pathsOf(pid).some((path) => {
    try {
      withFd(open(path, O_PATH), (fd) => fstat(fd, stat));
      const on = stat.devMajor === major && stat.devMinor === minor;
      return on || (stat.rdevMajor === major && stat.rdevMinor === minor);
    } catch {
      return false; // The process ended, or closed the file, meanwhile.
    }
  });
}

function show(pid: string): string {
  return `${read(`/proc/${pid}/comm`).trim() || "process"} (pid ${pid})`;
}

function read(path: string): string {
  try {
    return decode(readFile(path));
  } catch {
    return "";
  }
}
