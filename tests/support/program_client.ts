/**
 * Runs the program in a server's process (`program_server.ts`): most of a command's time is the
 * start of its process, and the cases run thousands.
 *
 * Such a command does all that it does in a process of its own, but end it. Cases about processes
 * start one.
 *
 * @module
 */
import { join } from "@std/path";
import {
  close,
  ftruncate,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  open,
  read,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { waitReadable } from "../../ffi/poll.ts";
import { COMMAND_SECONDS, must, type Ran } from "./cases.ts";
import { REPLIES, type Request, REQUESTS, STDERR, STDOUT } from "./program_server.ts";

/** The longest line of a reply: a status. */
const REPLY_BYTES = 16;

/** A running server. */
class Server {
  readonly #directory = Deno.makeTempDirSync({ prefix: "program-" });
  readonly #requests: number;
  readonly #replies: number;

  /** @param words start the server's program */
  constructor(words: readonly string[]) {
    must("mkfifo", this.#path(REQUESTS), this.#path(REPLIES));
    // Open for both, so that neither side waits for the other to open it.
    this.#requests = open(this.#path(REQUESTS), O_RDWR | O_CLOEXEC);
    this.#replies = open(this.#path(REPLIES), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    const script = `cd "$0" && exec setsid "$@" "$0" </dev/null >>${STDOUT} 2>>${STDERR} &`;
    must("sh", "-c", script, this.#directory, ...words);
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  /** Runs a command. */
  run(args: readonly string[]): Ran {
    const request: Request = { args, env: Deno.env.toObject(), directory: Deno.cwd() };
    writeAll(this.#requests, new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    const code = this.#reply(), stdout = this.#taken(STDOUT), stderr = this.#taken(STDERR);
    return { success: code === 0, code, stdout, stderr };
  }

  #reply(): number {
    const buffer = new Uint8Array(REPLY_BYTES);
    if (!waitReadable(this.#replies, performance.now() + COMMAND_SECONDS * 1000)) {
      throw new Error("the program's server does not answer");
    }
    const bytes = read(this.#replies, buffer);
    if (bytes === 0) throw new Error(`the program's server ended: ${this.#taken(STDERR)}`);
    return Number(new TextDecoder().decode(buffer.subarray(0, bytes)));
  }

  /** Takes the output of a command out of its file, to which the server appends. */
  #taken(name: string): string {
    const path = this.#path(name), text = Deno.readTextFileSync(path);
    if (text !== "") withFd(open(path, O_RDWR), (fd) => ftruncate(fd, 0n));
    return text;
  }

  /** Ends the server. */
  close(): void {
    close(this.#requests);
    close(this.#replies);
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

let server: Server | undefined;

/**
 * Runs a command in the server, which starts with the first one. A server that failed gets no
 * further command: its answer could come late, to another one.
 *
 * @throws {Error} if it ends, or does not answer
 */
export function runInServer(words: readonly string[], args: readonly string[]): Ran {
  if (server === undefined) {
    server = new Server(words);
    addEventListener("unload", closeServer, { once: true });
  }
  try {
    return server.run(args);
  } catch (error) {
    closeServer();
    throw error;
  }
}

function closeServer(): void {
  server?.close();
  server = undefined;
}
