/**
 * The Worker of `bounded_send.ts`: makes the call that writes the stream, which blocks while the
 * pipe is full.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { trySendChanges } from "../../ffi/btrfs_send.ts";
import { close } from "../../ffi/files.ts";
import { Control } from "../../lib/base/worker_control.ts";
import type { SendJob } from "./bounded_send.ts";

self.onmessage = ({ data }: MessageEvent<SendJob>) => {
  const control = new Control(data.control);
  if (!control.begin()) return self.close();
  try {
    // After a failure the stream has no END command, so the reader notices it.
    trySendChanges(data.snapshot, data.parent, data.output);
    close(data.output);
  } finally {
    control.finish("done");
    self.close();
  }
};
