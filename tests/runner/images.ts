/**
 * Loopback images: file systems for drivers, in sparse files.
 *
 * The loop device is autoclear, so that unmounting frees it. As a program, for `make images` and `make clean`:
 * `tests/runner/images.ts make|clean DIRECTORY` makes every kind and mounts it below `DIRECTORY/mnt`, or undoes that.
 */
import { join } from "@std/path";
import { SyscallError } from "../../ffi/errno.ts";
import { close } from "../../ffi/files.ts";
import { attach } from "../../ffi/loop.ts";
import { mount } from "../../ffi/mount.ts";
import { must, unmountBelow } from "../support/cases.ts";

/**
 * The commands and options with which each kind is made and mounted. Freed blocks are discarded,
 * because the images are in memory, and a stage of hundreds of cases would fill that of a guest.
 * btrfs discards them by itself.
 */
export const KINDS = {
  "ext4": { mkfs: ["mkfs.ext4", "-q", "-F"], type: "ext4", options: "discard" },
  "ext4+prjquota": {
    mkfs: ["mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"],
    type: "ext4",
    options: "prjquota,discard",
  },
  "xfs": { mkfs: ["mkfs.xfs", "-q", "-f"], type: "xfs", options: "discard" },
  "xfs+pquota": { mkfs: ["mkfs.xfs", "-q", "-f"], type: "xfs", options: "pquota,discard" },
  "btrfs": { mkfs: ["mkfs.btrfs", "-q", "-f"], type: "btrfs", options: "" },
} as const;

export type ImageKind = keyof typeof KINDS;
export const IMAGE_KINDS = Object.keys(KINDS) as ImageKind[];

/** A mounted image. Disposing of it unmounts it with all mounts below it, and deletes the file. */
export interface Image extends Disposable {
  readonly mountPoint: string;
}

/** The size of an image in bytes. Unwritten parts take no space. */
const IMAGE_SIZE = 8 * 2 ** 30;

/**
 * Makes an image `DIRECTORY/<kind>.img` and mounts it at `DIRECTORY/mnt/<kind>`.
 *
 * @param bytes its size; xfs needs at least 300 MiB, btrfs 128 MiB
 * @throws {SyscallError} if the kernel cannot mount the kind
 */
export function mountImage(kind: ImageKind, directory: string, bytes = IMAGE_SIZE): Image {
  const { mkfs: [program, ...args], type, options } = KINDS[kind];
  const file = join(directory, `${kind}.img`), mountPoint = join(directory, "mnt", kind);
  Deno.mkdirSync(mountPoint, { recursive: true });
  {
    using image = Deno.openSync(file, { write: true, create: true });
    image.truncateSync(bytes);
  }
  const image = {
    mountPoint,
    [Symbol.dispose]() {
      unmountBelow(mountPoint);
      Deno.removeSync(file);
      Deno.removeSync(mountPoint);
    },
  };
  try {
    must(program, ...args, file);
    const device = attach(file, { autoclear: true });
    try {
      mount({ source: device.path, target: mountPoint, type, data: options });
    } finally {
      close(device.fd);
    }
    return image;
  } catch (error) {
    image[Symbol.dispose]();
    throw error;
  }
}

function makeAll(directory: string): void {
  Deno.mkdirSync(directory, { recursive: true });
  for (const kind of IMAGE_KINDS) {
    try {
      const { mountPoint } = mountImage(kind, directory);
      console.log(`${kind.padEnd(14)} ${mountPoint}`);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      console.log(`${kind.padEnd(14)} not on this kernel: ${error.message}`);
    }
  }
}

/** Undoes {@linkcode makeAll}: unmounts, detaches and deletes all images. */
export function cleanAll(directory: string): void {
  try {
    unmountBelow(directory);
    Deno.removeSync(directory, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

if (import.meta.main) {
  const [command, directory] = Deno.args;
  cleanAll(directory);
  if (command === "make") makeAll(directory);
}
