/** Fills disks to the last byte. */
import { close, fsync, O_CREAT, O_WRONLY, tryOpen, withFd, writeAll } from "../../ffi/files.ts";
import { statfs } from "../../ffi/statfs.ts";
import type { ImageKind } from "../runner/images.ts";
import { lacksFileSystem } from "./cases.ts";

/** Small file systems of each kind, which are soon full, with a driver for each. */
export const SMALL_DISKS: readonly [
  kind: ImageKind,
  mebibytes: number,
  driver: string,
  lacking?: string,
][] = [
  ["ext4", 64, "overlay2", lacksFileSystem("overlay")],
  ["xfs", 320, "overlay2", lacksFileSystem("xfs") ?? lacksFileSystem("overlay")],
  ["btrfs", 200, "btrfs", lacksFileSystem("btrfs")],
];

/** Writes to a file until not one more byte fits. */
function append(path: string): void {
  const opened = tryOpen(path, O_WRONLY | O_CREAT, 0o600);
  if (opened < 0) return;
  withFd(opened, (fd) => {
    for (const size of [1 << 20, 1 << 16, 4096, 512, 1]) {
      const chunk = new Uint8Array(size).fill(120);
      try {
        for (let i = 0; i < 4096; i++) writeAll(fd, chunk);
      } catch {
        continue;
      }
    }
    try {
      fsync(fd);
    } catch {
      // Space that was promised before is missing as well.
    }
  });
}

/**
 * Fills a file system through a directory: with data, and with as many empty files as fit. On btrfs
 * only with data, because it makes no files if there is no space for metadata.
 */
export function fill(directory: string): void {
  const files = statfs(directory).totalInodes === 0 ? 0 : 3000;
  for (let round = 0; round < 3; round++) {
    append(`${directory}/fill-${crypto.randomUUID()}`);
    for (let i = 0; i < files; i++) {
      const fd = tryOpen(`${directory}/${crypto.randomUUID()}`, O_WRONLY | O_CREAT, 0o600);
      if (fd < 0) break;
      close(fd);
    }
  }
}
