/**
 * A service for one case: the program is run like a user would, with a socket and a store in the
 * case's directory.
 */
import { join } from "@std/path";
import { close, memfd, pread } from "../../ffi/files.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { storeHome } from "../../lib/snapshots/store_home.ts";
import { PROGRAM } from "../support/commands.ts";
import { type TempDir, tempDir } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { GrpcClient } from "./grpc_client.ts";

/** The longest wait before a case fails, in milliseconds: a busy machine takes a minute for some. */
const PATIENCE = 120_000;

/**
 * Runs a command whose standard error is appended to a file. That of another process cannot be opened
 * by a descriptor, only by its path in `/proc`.
 */
const WITH_LOG = ["sh", "-c", 'log=$1; shift; exec "$@" 2>>"$log"', "sh"];

/**
 * A process whose standard error is kept: in a file, since a process waits for the reader of a full
 * pipe, and a case that waits for another process reads nothing.
 */
export class Process {
  readonly #child: Deno.ChildProcess;
  readonly #file = memfd("stderr");
  readonly #decoder = new TextDecoder();
  #read = 0n;
  #log = "";
  #ended = false;

  constructor(readonly words: readonly string[], env: Record<string, string> = {}) {
    const [program, ...args] = [...WITH_LOG, `/proc/${Deno.pid}/fd/${this.#file}`, ...words];
    this.#child = new Deno.Command(program, {
      args,
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    })
      .spawn();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Its output on standard error so far. */
  get log(): string {
    if (!this.#ended) this.#readOn();
    return this.#log;
  }

  #readOn(): void {
    const chunk = new Uint8Array(64 * 1024);
    for (;;) {
      const length = pread(this.#file, chunk, chunk.length, this.#read);
      if (length === 0) return;
      this.#read += BigInt(length);
      this.#log += this.#decoder.decode(chunk.subarray(0, length), { stream: true });
    }
  }

  /** Waits until a condition holds; fails at once if the process ends. */
  async until(condition: () => boolean, what: string): Promise<void> {
    this.ended();
    await until(() => {
      if (this.#ended) throw new Error(`${this.words.join(" ")} ended: ${this.log}`);
      return condition();
    }, what);
  }

  /** Waits until its output matches. */
  async said(pattern: RegExp): Promise<void> {
    await this.until(() => pattern.test(this.log), `${pattern}`);
  }

  /** Sends a signal and waits for the end; returns the exit status. */
  end(signal: Deno.Signal = "SIGTERM"): Promise<number> {
    if (!this.#ended) this.#child.kill(signal);
    return this.ended();
  }

  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for the end; returns the exit status. */
  async ended(): Promise<number> {
    const { code } = await this.#child.status;
    if (!this.#ended) {
      this.#readOn();
      this.#ended = true;
      close(this.#file);
    }
    return code;
  }
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A running service. */
export class TestService implements AsyncDisposable {
  readonly directory: TempDir;
  readonly address: string;
  readonly root: string;
  process: Process;

  private constructor(
    readonly driver: string,
    options: readonly string[],
    root: string | undefined,
  ) {
    const directory = this.directory = tempDir("serve-");
    this.address = join(directory.path, "v.sock");
    this.root = root ?? join(directory.path, "root");
    this.process = this.#spawn(options);
  }

  /**
   * Starts a service on overlay2, and waits until it listens. @param options the options before the
   * command
   */
  static start(...options: string[]): Promise<TestService> {
    return TestService.on("overlay2", ...options);
  }

  /** The same on another driver. */
  static on(driver: string, ...options: string[]): Promise<TestService> {
    return TestService.at(undefined, driver, ...options);
  }

  /** The same with the case's own root. */
  static async at(
    root: string | undefined,
    driver: string,
    ...options: string[]
  ): Promise<TestService> {
    const service = new TestService(driver, options, root);
    await service.#listens();
    return service;
  }

  /** Starts the service again on the same store, after its end. */
  async restart(...options: string[]): Promise<void> {
    this.process = this.#spawn(options);
    await this.#listens();
  }

  /** Waits until the service listens: the socket is bound under another name and then renamed. */
  async #listens(): Promise<void> {
    const isListening = () => {
      // The flag of a listening socket (`__SO_ACCEPTCON` of `linux/net.h`).
      const sockets = Deno.readTextFileSync(`/proc/${this.process.pid}/net/unix`).split("\n");
      const bound = `${this.address}.bound`;
      return sockets.some((line) => line.includes(" 00010000 ") && line.endsWith(` ${bound}`)) &&
        isThere(this.address);
    };
    await this.process.until(isListening, "the service to listen");
  }

  #spawn(options: readonly string[]): Process {
    return new Process([...PROGRAM, ...this.#words(options)]);
  }

  #words(options: readonly string[]): string[] {
    const store = ["--root", this.root, "--driver", this.driver];
    return [...store, ...options, "serve", "containerd", "--address", this.address];
  }

  /** The home of the store. */
  get home(): string {
    return join(this.root, "services/veneer/snapshots", this.driver);
  }

  connect(): Promise<GrpcClient> {
    return GrpcClient.connect(this.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.end("SIGTERM");
    this.directory[Symbol.dispose]();
  }
}

/** The run-time state of a service's store. */
export const stateOf = ({ home }: TestService) => storeHome(home, IDENTITY).state;

/** Locks layers, like another process that works on them for long. */
export function holdLayers(service: TestService, ...layers: string[]): Disposable {
  const state = stateOf(service);
  const locks = layers.map((layer) => state.lockLayer(layer));
  return { [Symbol.dispose]: () => locks.forEach((lock) => lock[Symbol.dispose]()) };
}
