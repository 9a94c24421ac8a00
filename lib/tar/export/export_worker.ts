/**
 * The Worker of `export_crew.ts`: encodes runs of files, in the order in which they were queued.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { IdMap } from "../../base/id_maps.ts";
import { beginWork, endWork, PUSHED, SIGNAL, signalBack, STOP, STOPPED } from "../crew_control.ts";
import type { ExportJob } from "./export_crew.ts";
import { RunEncoder, RunMemory, RUNS } from "./export_runs.ts";

self.onmessage = ({ data }: MessageEvent<ExportJob>) => {
  const memory = new RunMemory(data.buffer);
  const { control } = memory;
  if (!beginWork(control)) return self.close();
  try {
    work(memory, data);
  } finally {
    endWork(control, STOPPED);
    self.close();
  }
};

/** Encodes runs until it is told to stop. */
function work({ control, runs }: RunMemory, { uids, gids }: ExportJob): void {
  const encoder = new RunEncoder({ uids: new IdMap(uids), gids: new IdMap(gids) });
  for (let number = 0;;) {
    const signal = Atomics.load(control, SIGNAL);
    if (Atomics.load(control, STOP) === 1) return;
    if (number === Atomics.load(control, PUSHED)) {
      Atomics.wait(control, SIGNAL, signal);
      continue;
    }
    const run = runs[number++ % RUNS];
    if (!run.take()) continue; // The main thread has it.
    encoder.encode(run);
    signalBack(control);
  }
}
