/**
 * The Worker of `write_behind.ts`: one sync at a time, and one for all steps that came meanwhile.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { syncfs } from "../../ffi/files.ts";
import { Control } from "../base/worker_control.ts";
import type { WriteBehindJob } from "./write_behind.ts";

self.onmessage = ({ data: { directory, control: buffer } }: MessageEvent<WriteBehindJob>) => {
  const control = new Control(buffer);
  if (control.begin()) {
    for (let done = 0; control.waitForJob(done);) {
      done = control.pushed;
      try {
        syncfs(directory);
      } catch {
        // The last sync tells of it.
      }
      control.complete(done);
    }
    control.finish("done");
  }
  self.close();
};
