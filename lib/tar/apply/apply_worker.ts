/**
 * The Worker of `crew.ts`: makes the regular files it is handed, in order.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { umask } from "../../../ffi/process.ts";
import { IdMap } from "../../base/id_maps.ts";
import { Attributes } from "./attributes.ts";
import type { CrewJob } from "./crew.ts";
import {
  beginWork,
  DONE,
  endWork,
  FAILED,
  PUSHED,
  SIGNAL,
  signalBack,
  STOP,
  STOPPED,
} from "../crew_control.ts";
import { CrewMemory, RING } from "./crew_memory.ts";
import { TarReader } from "../read/reader.ts";
import { tryMakeRegular } from "./regular_file.ts";
import { Window } from "../read/window.ts";

self.onmessage = ({ data }: MessageEvent<CrewJob>) => {
  const memory = new CrewMemory(data.buffer);
  const { control } = memory;
  if (!beginWork(control)) return self.close();
  let state: typeof STOPPED | typeof FAILED = STOPPED;
  try {
    work(memory, data);
  } catch (error) {
    memory.setError(error);
    state = FAILED;
  } finally {
    endWork(control, state);
    self.close();
  }
};

/** Does jobs until it is told to stop. */
function work(memory: CrewMemory, { input, base, uids, gids }: CrewJob): void {
  umask(0);
  const idMaps = { uids: new IdMap(uids), gids: new IdMap(gids) };
  const attributes = new Attributes(
    idMaps,
    (message, kind) => memory.addWarning(kind, message),
  );
  const reader = new TarReader(new Window(input, base));
  const { control, offsets, directories, inherits, answers } = memory;
  for (let done = 0;;) {
    const signal = Atomics.load(control, SIGNAL);
    if (Atomics.load(control, STOP) === 1) return;
    if (done === Atomics.load(control, PUSHED)) {
      Atomics.wait(control, SIGNAL, signal);
      continue;
    }
    const place = done % RING;
    reader.seek(offsets[place]);
    reader.next();
    answers[place] = tryMakeRegular(
      directories[place],
      inherits[place] === 1,
      reader,
      attributes,
    );
    Atomics.store(control, DONE, ++done);
    signalBack(control);
  }
}
