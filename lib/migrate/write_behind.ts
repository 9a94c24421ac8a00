/**
 * Writes a file system out while members are still being made, so that little is left to write at
 * the end of a migration, when nothing else is done.
 *
 * Nothing depends on it: what a member needs to be on disk, and writes that fail, are the business
 * of the last sync (`done_log.ts`), which has a descriptor of its own, since each descriptor tells
 * a failure once.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY, reopen, withFd } from "../../ffi/files.ts";
import { Control } from "../base/worker_control.ts";
import { type ConfinedPath, openDirectory } from "../tree/confined.ts";

/** The Worker's first message. */
export interface WriteBehindJob {
  /** A directory of the file system, which the starting thread closes. */
  readonly directory: number;
  /** The memory of a {@linkcode Control}. */
  readonly control: SharedArrayBuffer;
}

/**
 * The bytes of content between two syncs. Each waits for the disk, and commits the file system's
 * journal. Less content than this is not worth a Worker.
 */
const STEP = 64 << 20;

/** The file system of a directory, written out by a Worker. Its end waits for a sync that runs. */
export class WriteBehind implements Disposable {
  readonly #control = new Control();
  #running: { readonly worker: Worker; readonly directory: number } | undefined;
  /** The bytes since the last step, and those of the member that is being made. */
  #bytes = 0;
  #ofMember = 0;
  #steps = 0;

  constructor(readonly path: ConfinedPath) {}

  /** A member begins. */
  begin(): void {
    this.#ofMember = 0;
  }

  /** It has so many bytes so far. */
  progress(bytes: number): void {
    this.#bytes += bytes - this.#ofMember;
    this.#ofMember = bytes;
    if (this.#bytes < STEP) return;
    this.#bytes = 0;
    this.#running ??= this.#start();
    this.#control.push(++this.#steps);
  }

  #start(): { readonly worker: Worker; readonly directory: number } {
    const directory = openToSync(this.path);
    const worker = new Worker(new URL("./write_behind_worker.ts", import.meta.url), {
      type: "module",
    });
    const job: WriteBehindJob = { directory, control: this.#control.buffer };
    worker.postMessage(job);
    return { worker, directory };
  }

  [Symbol.dispose](): void {
    if (this.#running === undefined) return;
    this.#control.end(this.#running.worker);
    close(this.#running.directory);
    this.#running = undefined;
  }
}

/** A descriptor by which a directory's file system can be synced; the caller closes it. */
export function openToSync(path: ConfinedPath): number {
  return withFd(openDirectory(path), (fd) => reopen(fd, O_RDONLY | O_DIRECTORY));
}
