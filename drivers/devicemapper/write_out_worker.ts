/**
 * The Worker of `write_out.ts`.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { DT_DIR, DT_REG, DT_UNKNOWN, type Listing, readListing } from "../../ffi/directory.ts";
import { EIO, SyscallError } from "../../ffi/errno.ts";
import { close, fsync, syncfs } from "../../ffi/files.ts";
import { tryOpenToRead } from "../../ffi/quiet_open.ts";
import { Control } from "../../lib/base/worker_control.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import type { WriteOutJob } from "./write_out.ts";

self.onmessage = ({ data }: MessageEvent<WriteOutJob>) => {
  const control = new Control(data.control);
  if (control.begin()) control.finish("done", writeOut(data));
  self.close();
};

/** Returns 0, or an error number. */
function writeOut({ directory, syncfsTells }: WriteOutJob): number {
  try {
    syncfs(directory);
    if (!syncfsTells) syncFiles(directory);
    return 0;
  } catch (error) {
    return error instanceof SyscallError ? error.errno : EIO;
  }
}

/**
 * Calls `fsync` for every file below a directory: each call reports only the writes of its file.
 */
function syncFiles(root: number): void {
  using stack = new DirectoryStack(root);
  const levels: { readonly listing: Listing; next: number }[] = [
    { listing: readListing(stack.fd), next: 0 },
  ];
  for (let level; (level = levels.at(-1));) {
    if (level.next === level.listing.length) {
      levels.pop();
      if (levels.length > 0) stack.leave();
      continue;
    }
    const index = level.next++;
    const name = level.listing.name(index), type = level.listing.type(index);
    if ((type === DT_DIR || type === DT_UNKNOWN) && stack.tryEnter(name) >= 0) {
      levels.push({ listing: readListing(stack.fd), next: 0 });
    } else if (type === DT_REG || type === DT_UNKNOWN) {
      const fd = tryOpenToRead(stack.fd, name);
      if (fd < 0) continue;
      try {
        fsync(fd);
      } finally {
        close(fd);
      }
    }
  }
}
