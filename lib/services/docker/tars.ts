/**
 * The transfers of tars into layers and out of them, each through a pipe and a lane.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import type { Bytes } from "../bytes.ts";
import { answer, TAR_TYPE } from "./http.ts";
import type { OpenedStore } from "./opened_store.ts";
import { PipeIn, PipeOut, TarBody } from "./streams.ts";

/** A layer and the parent to compare it with. */
interface Comparison {
  readonly id: string;
  readonly parent: string;
}

/** A transfer, for the removal of its layer. */
interface Running {
  readonly abort: () => void;
  readonly ended: Promise<void>;
}

/** The transfers in progress. */
export class LayerTars {
  readonly #running = new Map<string, Set<Running>>();
  /**
   * The layers that this process has created and to which no tar was applied. Older layers are not
   * among them: a tar may have been in transfer when the former process was killed, and the daemon
   * repeats only the rest of it.
   */
  readonly #created = new Set<string>();

  /** Notes a new layer: one tar may be applied to it. */
  created(id: string): void {
    this.#created.add(id);
  }

  /** Notes that a layer was removed. */
  removed(id: string): void {
    this.#created.delete(id);
  }

  /** Ends the transfers of a layer before its removal. */
  async end(id: string): Promise<void> {
    const running = [...this.#running.get(id) ?? []];
    for (const { abort } of running) abort();
    await Promise.all(running.map(({ ended }) => ended));
  }

  /** Registers a transfer until the returned function is called. */
  #begin(id: string, abort: () => void): () => void {
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const running = { abort, ended };
    const all = this.#running.get(id) ?? new Set();
    this.#running.set(id, all.add(running));
    return () => {
      all.delete(running);
      if (all.size === 0) this.#running.delete(id);
      resolve();
    };
  }

  /**
   * Applies a request's body. It is read to its end even if it cannot be applied: a daemon that
   * cannot send the whole body assumes a broken connection, and sends the rest as a new request.
   */
  async applyDiff(
    store: OpenedStore,
    { id, parent }: Comparison,
    stream: ReadableStream<Uint8Array> | null,
  ): Promise<Response> {
    const body = new TarBody(stream);
    if (!this.#created.delete(id)) {
      await drain(body);
      await store.run({ method: "metadata", id }, { isFree: true }); // Throws if it does not exist.
      throw new VeneerError(
        "failed precondition",
        `layer ${id} was applied to before, or was created before this plugin was started; ` +
          "remove it and create it again",
      );
    }
    const isWhole = new Int32Array(new SharedArrayBuffer(4));
    const pipe = new PipeIn();
    const end = this.#begin(id, () => {
      body.cancel();
      pipe.end();
    });
    let failure: unknown;
    const feeding = feed(body, pipe, isWhole).catch((error) => failure = error);
    try {
      const call = { method: "applyDiff", id, parent, input: pipe.readable, isWhole } as const;
      return answer(await store.run(call, { stream: "in" }));
    } finally {
      pipe[Symbol.dispose]();
      await feeding;
      end();
      if (failure !== undefined) await drain(body);
    }
  }

  /** Answers with the tar of a layer's changes, as soon as its first bytes are there. */
  async diff(store: OpenedStore, { id, parent }: Comparison): Promise<Response> {
    const pipe = new PipeOut();
    const end = this.#begin(id, () => pipe.close());
    const call = { method: "diff", id, parent, output: pipe.writable } as const;
    let failure: unknown;
    const done = store.run(call, { stream: "out" })
      .catch((error) => failure = error ?? new Error("it failed"))
      .finally(() => {
        pipe.end();
        end();
      });
    let first: Bytes | undefined;
    try {
      first = await pipe.read();
      if (first === undefined) await done;
      if (failure !== undefined) throw failure;
    } catch (error) {
      pipe.close();
      throw error;
    }
    let isCancelled = false;
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const bytes = first ?? await pipe.read();
        first = undefined;
        if (isCancelled) return;
        if (bytes !== undefined) return controller.enqueue(bytes);
        await done;
        pipe.close();
        // An error closes the connection before the body's end.
        if (failure !== undefined) controller.error(failure);
        else controller.close();
      },
      cancel() {
        isCancelled = true;
        pipe.close();
      },
    }, { highWaterMark: 0 });
    return new Response(stream, { headers: { "content-type": TAR_TYPE } });
  }
}

/** Copies a body into a pipe, and ends the pipe. @throws if the lane reads no more */
async function feed(body: TarBody, pipe: PipeIn, isWhole: Int32Array): Promise<void> {
  try {
    for (let bytes = await body.read(); bytes !== undefined; bytes = await body.read()) {
      await pipe.write(bytes);
    }
    // If the pipe has already ended, the transfer was aborted.
    if (!pipe.isEnded) Atomics.store(isWhole, 0, 1);
  } finally {
    pipe.end();
  }
}

/** Reads the rest of a body, if its client is still connected. */
async function drain(body: TarBody): Promise<void> {
  try {
    while (await body.read() !== undefined);
  } catch {
    // The client has closed the connection.
  }
}
