/** A Worker that counts to the number of jobs it is handed, as `worker_control_test.ts` has it. */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { Control } from "../../lib/base/worker_control.ts";

self.onmessage = ({ data }: MessageEvent<SharedArrayBuffer>) => {
  const control = new Control(data);
  if (!control.begin()) return self.close();
  let done = 0;
  while (control.waitForJob(done)) control.complete(++done);
  control.finish("done", done);
  self.close();
};
