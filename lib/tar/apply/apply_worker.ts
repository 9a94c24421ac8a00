/**
 * The Worker of `worker_jobs.ts`: makes the regular files it is handed, in order.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { umask } from "../../../ffi/process.ts";
import { IdMap } from "../../base/id_maps.ts";
import { Attributes } from "./attributes.ts";
import type { ApplyJob } from "./worker_jobs.ts";
import { JobMemory, RING } from "./job_memory.ts";
import { TarReader } from "../read/reader.ts";
import { tryMakeRegular } from "./regular_file.ts";
import { DescriptorWindow } from "../read/descriptor_window.ts";

self.onmessage = ({ data }: MessageEvent<ApplyJob>) => {
  const memory = new JobMemory(data.buffer);
  const { control } = memory;
  if (!control.begin()) return self.close();
  try {
    work(memory, data);
    control.finish("done");
  } catch (error) {
    memory.setError(error);
    control.finish("failed");
  }
  self.close();
};

/** Does jobs until it is stopped. */
function work(memory: JobMemory, { input, base, uids, gids }: ApplyJob): void {
  umask(0);
  const idMaps = { uids: new IdMap(uids), gids: new IdMap(gids) };
  const attributes = new Attributes(
    idMaps,
    (message, kind) => memory.addWarning(kind, message),
  );
  const reader = new TarReader(new DescriptorWindow(input, base));
  const { control, offsets, directories, inherits, answers } = memory;
  for (let done = 0; control.waitForJob(done);) {
    const place = done % RING;
    reader.seek(offsets[place]);
    reader.next();
    answers[place] = tryMakeRegular(
      directories[place],
      inherits[place] === 1,
      reader,
      attributes,
    );
    control.complete(++done);
  }
}
