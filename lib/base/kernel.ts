/**
 * Queries of this kernel that several drivers need.
 *
 * @module
 */
import { calls } from "../../ffi/trace.ts";
import { readSystemFile } from "./system_files.ts";

/**
 * Whether `/proc/filesystems` lists a type of file system, after loading its module if it does not.
 */
export function hasFileSystem(type: string): boolean {
  if (isListed(type)) return true;
  loadModule(type);
  return isListed(type);
}

/** The program with which the kernel itself loads modules (proc_sys_kernel(5)). */
const MODPROBE = "/proc/sys/kernel/modprobe";

/**
 * Loads a module of the kernel, if there is one and it can be. The program is the kernel's own
 * choice: one from `PATH` could be anybody's.
 */
export function loadModule(name: string): void {
  const program = readSystemFile(MODPROBE);
  if (!program?.startsWith("/")) return;
  calls.tell?.(`${program.trim()} ${name}`);
  try {
    new Deno.Command(program, { args: [name], stdout: "null", stderr: "null" }).outputSync();
  } catch {
    // modprobe is missing: the caller finds out whether the type is there.
  }
}

/**
 * Whether `modules.dep` (depmod(8)) lists a module for this kernel: nothing is loaded.
 *
 * @param directory of the kernel's modules
 */
export function hasModule(name: string, directory = `/lib/modules/${Deno.osRelease()}`): boolean {
  const lines = readSystemFile(`${directory}/modules.dep`)?.split("\n") ?? [];
  return lines.some((line) => new RegExp(`(?:^|/)${name}\\.ko[^/]*:`).test(line));
}

/** Whether `/proc/filesystems` lists a type of file system now: no module is loaded for it. */
export function isListed(type: string): boolean {
  const lines = readSystemFile("/proc/filesystems")?.split("\n") ?? [];
  return lines.some((line) => line.split("\t")[1] === type);
}

/**
 * Whether this process is in a user namespace other than the first, which maps every id to itself.
 */
export function inUserNamespace(): boolean {
  const map = readSystemFile("/proc/self/uid_map");
  return map !== undefined && !/^\s*0\s+0\s+4294967295\s*$/.test(map);
}

let running: string | undefined;

/** Whether this kernel's version is at least `major.minor`. */
export function isKernelAtLeast(
  major: number,
  minor: number,
  release = running ??= Deno.osRelease(),
): boolean {
  const [ourMajor, ourMinor] = release.split(".").map((part) => parseInt(part, 10));
  return ourMajor > major || ourMajor === major && ourMinor >= minor;
}
