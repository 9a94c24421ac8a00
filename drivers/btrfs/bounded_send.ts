/**
 * The send stream of two snapshots, in bounded time and memory.
 *
 * Every command of the stream has a path, and the kernel remembers the names of some 250 inodes:
 * for deeper paths it looks up every name above, for every command. On one machine, 100 new
 * directories inside each other took 7 ms, 300 took 0.4 s, 1000 took 12 s, and any process in a
 * container can make them. Comparing these trees takes some milliseconds. So the stream is given up
 * if it takes too long.
 *
 * It goes through a pipe. Most streams fit into one: the call is made on this thread, which reads
 * afterwards. One that does not fit is begun again by a Worker, and read here as it comes. When its
 * time is up the pipe is closed, and the kernel's next write, which is the next command, fails with
 * EPIPE and ends the call.
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

/** How much the kernel may be asked for. */
export interface SendLimits {
  /** For all of it, in milliseconds. */
  readonly time: number;
  /** The bytes of a stream that is written before it is read. */
  readonly pipe: number;
}

/**
 * By measurements: a changed entry takes the kernel about 40 µs and 120 to 520 bytes of stream;
 * comparing takes 4 to 14 µs for each entry that there is. So two seconds make 50,000 changes, or
 * 20,000 on a busy machine, and after them a comparison of 200,000 entries is as good; 256 KiB hold
 * 500 to 2,000 changes, and take 0.7 s at worst, wherever these lie.
 */
export const SEND_LIMITS: SendLimits = { time: 2000, pipe: 256 << 10 };

/** The Worker's first message. */
export interface SendJob {
  readonly snapshot: number;
  readonly parent: bigint;
  /** The pipe's end to write to, which the Worker closes. */
  readonly output: number;
  readonly control: SharedArrayBuffer;
}

/**
 * The commands that turn one snapshot into another.
 *
 * @param snapshot an open read-only subvolume, the caller's until the iteration ends
 * @param parent the id of the read-only subvolume it is compared with
 * @param deadline in milliseconds, as `performance.now()` counts them
 * @throws {SendStreamError} if it takes longer, or cannot be read
 * @throws {SyscallError} if the kernel refuses, such as for paths of 4 KiB
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

/** A pipe that holds a whole stream, which the caller closes; `undefined` if it holds less. */
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

/** A Worker in the call, and the pipe to read from meanwhile. */
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

  /** Ends the call: afterwards the snapshots are free. */
  [Symbol.dispose](): void {
    close(this.output);
    this.#control.end(this.#worker);
    if (this.#control.state === "cancelled") close(this.#input);
  }
}
