/**
 * The Worker of `layer_stream.ts`: file → digest → decompressor → digest → pipe. From the plain tar
 * it also makes the tar's record.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { EPIPE } from "../../ffi/errno.ts";
import { close, ftruncate, lseek, pread, SEEK_SET, tryWrite } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { reasonOf, WorkerMemory } from "../base/worker_memory.ts";
import { CHUNK, decompress, type Read } from "../tar/read/decompression.ts";
import { Expansion } from "../tar/read/expansion.ts";
import { WritingSink } from "../tar/read/sink.ts";
import { digestOf, newHash } from "./digest.ts";
import { LostPaths } from "./path_conflicts.ts";
import { RecordWriter } from "./tar_record.ts";
import { TarSplitter } from "./tar_splitter.ts";
import type { LayerJob, LayerSums } from "./layer_stream.ts";

type Bytes = Uint8Array<ArrayBuffer>;

self.onmessage = ({ data }: MessageEvent<LayerJob>) => {
  const { control, text } = new WorkerMemory(data.memory);
  if (!control.begin()) return self.close();
  const isStopped = () => control.isStopped;
  run(data, isStopped).then((sums) => {
    text.append(sums);
    return "done" as const;
  }, (error) => {
    text.append(reasonOf(error));
    return "failed" as const;
  }).then((state) => {
    // This comes before the message to the reader, which may close its own end at once.
    close(data.output);
    control.finish(state);
    self.close();
  });
};

/** Reads the file to its end. */
async function run(job: LayerJob, isStopped: () => boolean): Promise<LayerSums> {
  const { compression, algorithm, output, isBounded, inflater } = job;
  const file = newHash(algorithm), plain = newHash("sha256");
  const pieces = reader(job, isStopped);
  const read: Read = (memory) => {
    const got = pieces(memory);
    file.update(memory.subarray(0, got));
    return got;
  };
  const write = writer(output, isStopped);
  const record = new RecordWriter(job.record);
  const splitter = new TarSplitter(record, job.keepsAll ? LostPaths.all() : undefined);
  let size = 0;
  const pass = (bytes: Bytes) => {
    plain.update(bytes);
    size += bytes.length;
    splitter.push(bytes);
    write(bytes);
  };
  const sink = new WritingSink(new Uint8Array(CHUNK), pass);
  let failure: string | undefined;
  try {
    if (compression !== undefined && isBounded) {
      const expansion = new Expansion();
      await decompress(compression, expansion.reading(read), expansion.bounding(sink), inflater);
    } else if (compression !== undefined) await decompress(compression, read, sink, inflater);
    else readAll(read, pass);
  } catch (error) {
    if (error instanceof Stopped) throw error;
    failure = reasonOf(error);
  }
  // The bytes that the decompressor did not read are part of the digest as well.
  readAll(read, () => {});
  splitter.end();
  record.end();
  if (failure === undefined && !splitter.lost.isEmpty && !job.keepsAll) {
    await recordAgain(job, splitter.lost, isStopped);
  }
  return {
    file: digestOf(algorithm, file),
    plain: digestOf("sha256", plain),
    size,
    others: splitter.others,
    failure,
  };
}

/** Reads a file again for its record: the record needs the content of files that the layer lost. */
async function recordAgain(
  job: LayerJob,
  lost: LostPaths,
  isStopped: () => boolean,
): Promise<void> {
  ftruncate(job.record, 0n);
  lseek(job.record, 0n, SEEK_SET);
  const record = new RecordWriter(job.record), splitter = new TarSplitter(record, lost);
  const read = reader(job, isStopped), pass = (bytes: Bytes) => splitter.push(bytes);
  const { compression, inflater } = job;
  const sink = new WritingSink(new Uint8Array(CHUNK), pass);
  if (compression !== undefined) await decompress(compression, read, sink, inflater);
  else readAll(read, pass);
  splitter.end();
  record.end();
}

/** The thread that started this Worker does not need its results any more. */
class Stopped extends Error {}

/** Returns a function that reads the job's file. */
function reader({ fd, offset, size }: LayerJob, isStopped: () => boolean): Read {
  let at = 0;
  return (memory) => {
    if (isStopped()) throw new Stopped("it was stopped");
    const ask = Math.min(memory.length, size - at);
    if (ask === 0) return 0;
    const got = pread(fd, memory, ask, BigInt(offset + at));
    if (got === 0) throw new Error(`it ends after ${at} of ${size} bytes`);
    at += got;
    return got;
  };
}

/** Passes on all bytes that are left. */
function readAll(read: Read, pass: (bytes: Bytes) => void): void {
  const memory = new Uint8Array(CHUNK);
  for (let got; (got = read(memory)) > 0;) pass(memory.subarray(0, got));
}

/** Returns a function that writes to a pipe as long as the pipe has a reader. */
function writer(output: number, isStopped: () => boolean): (bytes: Bytes) => void {
  let hasReader = true;
  return (bytes) => {
    for (let rest = bytes; hasReader && rest.length > 0;) {
      const put = tryWrite(output, rest);
      hasReader = put !== -EPIPE;
      if (hasReader) rest = rest.subarray(unwrap(put, "write"));
    }
    if (isStopped()) throw new Stopped("it was stopped");
  };
}
