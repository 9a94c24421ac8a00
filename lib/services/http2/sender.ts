/**
 * Writes to a connection: in order, in few writes, with a count of the bytes that wait.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Bytes } from "../bytes.ts";

/** The size up to which frames are joined into one write, in bytes. */
const CHUNK = 64 << 10;

/** Writes to a connection in the background. */
export class Sender {
  readonly #conn: Deno.Conn;
  readonly #onBegin: () => void;
  readonly #onError: () => void;
  #queue: Bytes[] = [];
  #next = 0;
  #queued = 0;
  #running: Promise<void> | undefined;
  #waiting: { readonly below: number; readonly resolve: () => void }[] = [];
  #progress = 0;
  #failed = false;
  #isHeld = false;

  /**
   * @param onBegin called when bytes begin to wait
   * @param onError called once, if the connection fails
   */
  constructor(conn: Deno.Conn, onBegin: () => void, onError: () => void) {
    this.#conn = conn;
    this.#onBegin = onBegin;
    this.#onError = onError;
  }

  /**
   * The time of the last write while bytes wait, on the clock of `performance.now()`; `undefined`
   * if none wait.
   */
  get stalledSince(): number | undefined {
    return this.#running === undefined ? undefined : this.#progress;
  }

  /** The bytes that wait for the socket. */
  get queued(): number {
    return this.#queued;
  }

  /** Queues bytes, which must no longer change. */
  push(bytes: Bytes): void {
    if (this.#failed) return;
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (!this.#isHeld) this.#running ??= this.#begin();
  }

  /** Joins the bytes that `act` pushes into one write, which begins at the end of `act`. */
  joining(act: () => void): void {
    this.#isHeld = true;
    try {
      act();
    } finally {
      this.#isHeld = false;
      if (this.#queue.length > 0) this.#running ??= this.#start();
    }
  }

  /** Resolves when fewer bytes than the limit wait. */
  async below(limit: number): Promise<void> {
    if (this.#queued < limit) return;
    await new Promise<void>((resolve) => this.#waiting.push({ below: limit, resolve }));
  }

  /** Resolves when all bytes are written, or if the connection has failed. */
  async drained(): Promise<void> {
    await this.#running;
  }

  /** Writes after this turn of the event loop, so that all frames of the turn are one write. */
  async #begin(): Promise<void> {
    this.#onBegin();
    this.#progress = performance.now();
    await new Promise<void>((resolve) => setImmediate(resolve));
    await this.#run();
  }

  async #start(): Promise<void> {
    this.#onBegin();
    await this.#run();
  }

  async #run(): Promise<void> {
    this.#progress = performance.now();
    try {
      while (this.#next < this.#queue.length) {
        let rest = this.#take();
        while (rest.length > 0) {
          const written = await this.#conn.write(rest);
          this.#progress = performance.now();
          this.#queued -= written;
          rest = rest.subarray(written);
        }
        this.#wake();
      }
    } catch {
      this.#failed = true;
      this.#queue = [];
      this.#next = this.#queued = 0;
      this.#onError();
    } finally {
      this.#running = undefined;
      this.#wake();
    }
  }

  /** The next bytes; short frames are joined. */
  #take(): Bytes {
    let length = 0, end = this.#next;
    do length += this.#queue[end++].length; while (
      end < this.#queue.length && length + this.#queue[end].length <= CHUNK
    );
    const chunk = end - this.#next === 1 ? this.#queue[this.#next] : new Uint8Array(length);
    if (end - this.#next > 1) {
      let at = 0;
      for (let i = this.#next; i < end; i++) {
        chunk.set(this.#queue[i], at);
        at += this.#queue[i].length;
      }
    }
    this.#next = end;
    if (end === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    }
    return chunk;
  }

  #wake(): void {
    const ready = this.#waiting.filter(({ below }) => this.#queued < below);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
    for (const { resolve } of ready) resolve();
  }
}
