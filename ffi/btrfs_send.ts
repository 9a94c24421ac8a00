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

/** Name the changed ranges of files, without their data. */
export const BTRFS_SEND_FLAG_NO_FILE_DATA = 1n;

/**
 * Writes the stream, without the data of files, to a descriptor: protocol version 1, which every
 * kernel writes and which names every change. Raw: 0 or `-errno`; errors of writing to `output` are
 * among them, such as EPIPE if the reader has closed its end.
 *
 * The kernel compares any two snapshots, and of unrelated ones reports wrong changes without an
 * error. It writes command by command, on the calling thread.
 *
 * @param snapshot an open read-only subvolume
 * @param parent the id of the read-only subvolume to compare it with
 * @param output a file or a pipe
 */
export function trySendChanges(snapshot: number, parent: bigint, output: number): number {
  const args = new Struct(SEND_ARGS)
    .set("send_fd", output)
    .set("parent_root", parent)
    .set("flags", BTRFS_SEND_FLAG_NO_FILE_DATA);
  return tryIoctl(snapshot, BTRFS_IOC_SEND, args.bytes);
}
