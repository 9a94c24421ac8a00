/**
 * The processes that hold a lock or keep a mount busy, for messages.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { readNames } from "../../ffi/directory.ts";
import { O_DIRECTORY, O_RDONLY, open, readFile, withFd } from "../../ffi/files.ts";
import { readlink } from "../../ffi/paths.ts";
import { fstat } from "../../ffi/stat.ts";

/**
 * The processes that hold a `flock` on an open file, as `/proc/locks` (proc(5)) tells:
 * `docker (pid 42)`.
 */
export function holdersOf(fd: number): string[] {
  const stat = fstat(fd);
  const hex = (n: number) => n.toString(16).padStart(2, "0");
  const file = `${hex(stat.devMajor)}:${hex(stat.devMinor)}:${stat.inode}`;
  const pids = new Set<string>();
  for (const line of decode(readFile("/proc/locks")).split("\n")) {
    const words = line.trim().split(/\s+/);
    if (words[1] === "FLOCK" && words[5] === file) pids.add(words[4]);
  }
  return [...pids].map(describe);
}

/**
 * The processes, but for this one, whose working directory, root or an open file lies at or below a
 * path: at most three.
 */
export function usersOf(path: string): string[] {
  const users: string[] = [];
  for (const pid of processes()) {
    if (pid === String(Deno.pid)) continue;
    if (links(pid).some((target) => target === path || target.startsWith(`${path}/`))) {
      users.push(describe(pid));
      if (users.length === 3) break;
    }
  }
  return users;
}

/**
 * Whether any process lives in a mount namespace, given by the inode that `/proc/<pid>/ns/mnt`
 * shows.
 */
export function isNamespaceAlive(namespace: string): boolean {
  for (const process of namespacedProcesses()) if (process.namespace === namespace) return true;
  return false;
}

/** How often processes are listed at most, while new ones come. */
const LISTINGS = 10;

/**
 * Every process with the inode of its mount namespace.
 *
 * One that ends while they are looked at may have left its namespace to a child that no listing
 * from before has. So they are listed again until none is new.
 */
export function* namespacedProcesses(): Generator<{ pid: string; namespace: string }> {
  const seen = new Set<string>();
  for (let listing = 0, isComplete = false; !isComplete && listing < LISTINGS; listing++) {
    isComplete = true;
    for (const pid of processes()) {
      if (seen.has(pid)) continue;
      seen.add(pid);
      isComplete = false;
      const namespace = /^mnt:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/ns/mnt`))?.[1];
      if (namespace !== undefined) yield { pid, namespace };
    }
  }
}

/** The ids of all processes there are. */
export function processes(): string[] {
  return names("/proc").filter((name) => /^\d+$/.test(name));
}

/** The targets of a process's links in `/proc`: its working directory, its root, its open files. */
export function pathsOf(pid: string): string[] {
  const files = names(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`);
  return [`/proc/${pid}/cwd`, `/proc/${pid}/root`, ...files];
}

function links(pid: string): string[] {
  return pathsOf(pid).map(readLink);
}

/** The target of a link in `/proc`; `""` if it cannot be read, as the process may have ended. */
export function readLink(path: string): string {
  try {
    return readlink(path);
  } catch {
    return "";
  }
}

/** The names in a directory of `/proc` or `/sys`, which may go while it is read: then none. */
export function names(path: string): string[] {
  try {
    return withFd(open(path, O_RDONLY | O_DIRECTORY), readNames);
  } catch {
    return [];
  }
}

/** A process as messages name it: `docker (pid 42)`. */
export function describe(pid: string): string {
  const name = nameOf(pid);
  return name === undefined ? `pid ${pid}` : `${name} (pid ${pid})`;
}

/** Whether a process runs a program. A thread of the kernel's does not, nor does one that has ended. */
export function runsProgram(pid: string): boolean {
  return readLink(`/proc/${pid}/exe`) !== "";
}

/** The name of a process's program, of 15 bytes at most; `undefined` if the process is gone. */
export function nameOf(pid: string): string | undefined {
  try {
    return decode(readFile(`/proc/${pid}/comm`)).trim();
  } catch {
    return undefined;
  }
}
