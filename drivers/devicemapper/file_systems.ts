/**
 * Makes, mounts and grows the file systems on devices.
 *
 * @module
 */
import { calls } from "../../ffi/trace.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { EINVAL } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { MNT_DETACH, mount, tryMount, umount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";
import { growExt4, growXfs } from "../../ffi/resize.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { AT_REMOVEDIR, unlinkat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import {
  type ConfinedPath,
  makeDirectory,
  openDirectory,
  unlink,
} from "../../lib/tree/confined.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import { type MountInfo, readMountInfo } from "../../lib/mount/mountinfo.ts";
import { unmountUnused } from "../../lib/mount/unmount.ts";
import { writeSystemFile } from "../../lib/base/system_files.ts";
import { findProgram } from "./system_programs.ts";
import { type MountChoice, optionList, splitOptions } from "./mount_options.ts";
import type { BaseFileSystem } from "./options.ts";
import { readSuperblock } from "./superblock.ts";

/**
 * Makes a file system on a device.
 *
 * All its tables are initialised at once: otherwise the kernel would initialise them in each layer,
 * in that layer's space.
 *
 * @throws {VeneerError} `not supported` if mkfs is not installed, `failed` with its output
 */
export function makeFileSystem(
  type: BaseFileSystem,
  device: string,
  mkfsArguments: readonly string[],
): void {
  if (type === "xfs") return must("mkfs.xfs", ["-q", "-f", ...mkfsArguments, device]);
  const attempts = [
    "discard,lazy_itable_init=0,lazy_journal_init=0",
    "discard,lazy_itable_init=0", // before e2fsprogs 1.42.4
    "discard",
  ];
  let failure: VeneerError | undefined;
  for (const extended of attempts) {
    failure = run("mkfs.ext4", ["-q", "-F", "-E", extended, ...mkfsArguments, device]);
    // No checks after a time or a number of mounts: they would delay the start of a container.
    if (failure === undefined) return must("tune2fs", ["-c", "-1", "-i", "0", device]);
    if (failure.code === "not supported") break;
  }
  throw failure;
}

function must(program: string, args: string[]): void {
  const failure = run(program, args);
  if (failure !== undefined) throw failure;
}

function run(program: string, args: string[]): VeneerError | undefined {
  const path = findProgram(program);
  if (path === undefined) {
    const install = program === "mkfs.xfs" ? "xfsprogs" : "e2fsprogs";
    return new VeneerError("not supported", `there is no ${program}; install ${install}`);
  }
  const options = { args, stdin: "null", env: { LC_ALL: "C" } } as const;
  calls.tell?.(`${path} ${args.join(" ")}`);
  const output = new Deno.Command(path, options).outputSync();
  if (output.success) return undefined;
  const said = messageOf(new TextDecoder().decode(output.stderr));
  return new VeneerError("failed", `${program} ${args.join(" ")}: exit ${output.code}: ${said}`);
}

/** Mounts a device; without the option `discard` if the file system does not support it. */
export function mountDevice(device: string, target: string, choice: MountChoice): void {
  const options = optionList(choice);
  const request = { source: device, target, type: choice.fileSystem };
  const result = tryMount({ ...request, ...splitOptions(options) });
  if (result === -EINVAL) {
    const plain = options.filter((option) => option !== "discard");
    return mount({ ...request, ...splitOptions(plain) });
  }
  unwrap(result, "mount", target);
}

/**
 * Grows the file system of an active device to the device's size, if it is smaller.
 *
 * @param scratch a directory to mount it on, which is made and removed here
 */
export function growFileSystem(device: string, size: number, scratch: ConfinedPath): void {
  const found = readSuperblock(device);
  if (found === undefined) {
    throw new VeneerError(
      "incompatible",
      `${device} has neither ext4 nor xfs, and cannot be grown`,
    );
  }
  if (size - found.size < found.blockSize) return;
  whileMounted(device, found.type, scratch, (fd) => {
    if (found.type === "xfs") growXfs(fd, size, device);
    else growExt4(fd, size, found.blockSize, device);
  });
}

const LOST_AND_FOUND = entryName("lost+found");

/** Removes the directory that mkfs.ext4 creates in the root; e2fsck creates it again if needed. */
export function emptyRoot(type: BaseFileSystem, device: string, scratch: ConfinedPath): void {
  if (type !== "ext4") return;
  whileMounted(device, type, scratch, (fd) => unlinkat(fd, LOST_AND_FOUND, AT_REMOVEDIR));
}

/** Runs `use` on the open root of an active device, mounted on a directory that is made for it. */
function whileMounted(
  device: string,
  fileSystem: BaseFileSystem,
  scratch: ConfinedPath,
  use: (root: number) => void,
): void {
  makeDirectory(scratch, 0o700);
  mountDevice(device, scratch.text, { fileSystem, readOnly: false, options: "", label: undefined });
  try {
    withFd(openDirectory(scratch), use);
  } finally {
    unmountUnused(scratch.text);
    unlink(scratch, AT_REMOVEDIR);
  }
}

/** The mounts of a device in this process's namespace. */
export function mountsOf(numbers: string): MountInfo[] {
  return readMountInfo().filter(({ device }) => device === numbers);
}

/** Unmounts the mounts of a device at or below a directory. */
export function unmountBelow(directory: string, numbers: string): void {
  for (const { mountPoint } of mountsOf(numbers).reverse()) {
    if (mountPoint.startsWith(`${directory}/`)) umount(mountPoint, MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

/**
 * Sets how often xfs retries writes of metadata that fail for lack of space: kernel,
 * Documentation/admin-guide/xfs.rst.
 */
export function setNoSpaceRetries(target: string, retries: number): void {
  const stat = tryLstat(target);
  const device = stat && mountsOf(`${stat.devMajor}:${stat.devMinor}`).at(0);
  if (device === undefined) return;
  const name = Deno.realPathSync(`/sys/dev/block/${device.device}`).split("/").at(-1);
  writeSystemFile(`/sys/fs/xfs/${name}/error/metadata/ENOSPC/max_retries`, String(retries));
}
