/**
 * The Worker of `worker_runs.ts`: encodes runs of files, in the order in which they were queued.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { IdMap } from "../../base/id_maps.ts";
import { RunEncoder, RunMemory, RUNS } from "./export_runs.ts";
import type { ExportJob } from "./worker_runs.ts";

self.onmessage = ({ data }: MessageEvent<ExportJob>) => {
  const memory = new RunMemory(data.buffer);
  const { control } = memory;
  if (!control.begin()) return self.close();
  try {
    work(memory, data);
  } finally {
    control.finish("done");
    self.close();
  }
};

/** Encodes runs until it is stopped. */
function work({ control, runs }: RunMemory, { uids, gids }: ExportJob): void {
  const encoder = new RunEncoder({ uids: new IdMap(uids), gids: new IdMap(gids) });
  for (let number = 0; control.waitForJob(number);) {
    const run = runs[number++ % RUNS];
    if (!run.take()) continue; // The main thread has it.
    encoder.encode(run);
    control.complete(number);
  }
}
