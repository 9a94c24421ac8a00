/**
 * Reads the send stream of two snapshots in bounded time and memory.
 *
 * Every command of the stream has a path, and the kernel remembers the names of some 250 inodes:
 * for deeper paths it looks up all names of the path again, for every command. On one machine, 100
 * new directories inside each other took 7 ms, 300 took 0.4 s, 1000 took 12 s, and any process in a
 * container can make them. Comparing these trees takes some milliseconds. So the stream is given up
 * if it takes too long.
 *
 * The stream goes through a pipe. Most streams fit into the pipe: then this thread makes the call
 * and reads the pipe afterwards. Otherwise a Worker makes the call again, and this thread reads
 * meanwhile. If the time is up, the pipe is closed: the kernel's next write, at the next command,
 * fails with EPIPE and ends the call.
 *
 * @module
 */
import { trySendChanges } from "../../ffi/btrfs_send.ts";
import { EAGAIN } from "../../ffi/errno.ts";
import { close, LARGEST_PIPE, O_NONBLOCK, pipe, trySetPipeSize } from "../../ffi/files.ts";
import { waitReadable } from "../../ffi/poll.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { Control } from "../../lib/base/worker_control.ts";
import { readSendStream, type SendCommand, SendStreamError } from "./send_stream.ts";

/** The limits of one stream. */
export interface SendLimits {
  /** The time for the whole stream, in milliseconds. */
  readonly time: number;
  /** The size of the pipe, in bytes, for a stream that is written before it is read. */
  readonly pipe: number;
}

/**
 * Chosen by measurements. For each changed entry the kernel takes about 40 µs and writes 120 to 520
 * bytes; a comparison of the trees takes 4 to 14 µs for each entry of the trees. So two seconds are
 * enough for 50,000 changes, or 20,000 on a busy machine; in the same time 200,000 entries can be
 * compared. 256 KiB hold 500 to 2,000 changes and take 0.7 s at worst, at any depth of the paths.
 */
export const SEND_LIMITS: SendLimits = { time: 2000, pipe: 256 << 10 };

/** The Worker's first message. */
export interface SendJob {
  readonly snapshot: number;
  readonly parent: bigint;
  /** The writable end of the pipe; the Worker closes it. */
  readonly output: number;
  readonly control: SharedArrayBuffer;
}

/**
 * The commands that turn one snapshot into another.
 *
 * @param snapshot an open read-only subvolume; the caller closes it after the iteration
 * @param parent the id of the read-only subvolume it is compared with
 * @param deadline in milliseconds, on the clock of `performance.now()`
 * @throws {SendStreamError} if the stream takes longer, or is invalid
 * @throws {SyscallError} if the kernel refuses the call, such as for paths of 4 KiB
 */
export function* boundedSend(
  snapshot: number,
  parent: bigint,
  deadline: number,
  { pipe }: SendLimits,
): Generator<SendCommand> {
  const whole = trySendWhole(snapshot, parent, pipe);
  if (whole !== undefined) {
    try {
      yield* readSendStream(whole);
    } finally {
      close(whole);
    }
    return;
  }
  using sender = new SendWorker(snapshot, parent);
  const { output } = sender;
  yield* readSendStream(output, () => {
    if (!waitReadable(output, deadline)) throw new SendStreamError("it takes too long");
  });
}

/**
 * A pipe with the whole stream, which the caller closes; `undefined` if the stream does not fit.
 */
function trySendWhole(snapshot: number, parent: bigint, size: number): number | undefined {
  const { readable, writable } = pipe(O_NONBLOCK);
  trySetPipeSize(readable, size);
  const result = trySendChanges(snapshot, parent, writable);
  close(writable);
  if (result === 0) return readable;
  close(readable);
  if (result !== -EAGAIN) unwrap(result, "ioctl BTRFS_IOC_SEND");
  return undefined;
}

/** A Worker that makes the call, and the pipe to read from meanwhile. */
class SendWorker implements Disposable {
  readonly output: number;
  readonly #input: number;
  readonly #worker: Worker;
  readonly #control = new Control();

  constructor(snapshot: number, parent: bigint) {
    const { readable, writable } = pipe();
    trySetPipeSize(readable, LARGEST_PIPE);
    this.output = readable;
    this.#input = writable;
    this.#worker = new Worker(new URL("./send_worker.ts", import.meta.url), { type: "module" });
    const job: SendJob = { snapshot, parent, output: writable, control: this.#control.buffer };
    this.#worker.postMessage(job);
  }

  /** Ends the call: afterwards the snapshots are no longer in use. */
  [Symbol.dispose](): void {
    close(this.output);
    this.#control.end(this.#worker);
    if (this.#control.state === "cancelled") close(this.#input);
  }
}
