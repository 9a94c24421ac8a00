/**
 * `BTRFS_IOC_SEND`: the stream of commands that turn one read-only snapshot into another.
 *
 * @module
 */
import { BTRFS_IOCTL_MAGIC } from "./btrfs_subvolume.ts";
import { iow, tryIoctl } from "./ioctl.ts";
import { layout, Struct } from "./struct.ts";

/** `struct btrfs_ioctl_send_args`. */
export const SEND_ARGS = layout("struct btrfs_ioctl_send_args", 72, {
  send_fd: ["i64", 0],
  clone_sources_count: ["u64", 8],
  clone_sources: ["u64", 16],
  parent_root: ["u64", 24],
  flags: ["u64", 32],
  version: ["u32", 40],
});

export const BTRFS_IOC_SEND = iow(BTRFS_IOCTL_MAGIC, 38, SEND_ARGS.size);

/** Name the ranges of files that changed, without what is in them. */
export const BTRFS_SEND_FLAG_NO_FILE_DATA = 1n;

/**
 * Writes the stream, without the data of files, to a descriptor: protocol version 1, which every kernel
 * speaks and which says all that matters here. Raw: 0 or `-errno`, with what a failing write to `output` gave
 * among them, such as EPIPE where nobody reads it any more.
 *
 * The kernel compares whatever two snapshots it is given, related or not, and for unrelated ones invents. It
 * writes command by command, on the calling thread.
 *
 * @param snapshot an open read-only subvolume
 * @param parent the id of the read-only subvolume it is compared with
 * @param output a file or a pipe
 */
export function trySendChanges(snapshot: number, parent: bigint, output: number): number {
  const args = new Struct(SEND_ARGS)
    .set("send_fd", output)
    .set("parent_root", parent)
    .set("flags", BTRFS_SEND_FLAG_NO_FILE_DATA);
  return tryIoctl(snapshot, BTRFS_IOC_SEND, args.bytes);
}
