/**
 * The service for Docker: its graph driver protocol on a Unix socket.
 *
 * ```text
 * socket ── HTTP/1.1 ── DockerPlugin ── Lanes ──▶ Worker: store of layers
 *                          tars ─────── pipes ──▶ Worker: store of layers
 * ```
 *
 * This thread only moves bytes. The lanes wait for the store.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import type { ServiceLog } from "../log.ts";
import { notifyManager } from "../notify.ts";
import { endSignal } from "../signals.ts";
import { listenAt, type Listening } from "../socket.ts";
import { answerError, TAR_TYPE } from "./http.ts";
import { InitRecord } from "./init_record.ts";
import type { StoreContext } from "./opened_store.ts";
import { DockerPlugin } from "./plugin.ts";

/** The settings of the service. */
export interface ServeDockerOptions extends Omit<StoreContext, "warn"> {
  /** The socket's path. */
  readonly address: string;
  readonly log: ServiceLog;
}

/** The longest wait for running calls at the end, in milliseconds. */
const DRAIN_TIME = 30_000;

/**
 * Serves until SIGTERM or SIGINT. A second one ends the process at once; no change that was
 * answered is lost.
 *
 * @throws {VeneerError} as {@linkcode listenAt} does
 */
export async function serveDocker(options: ServeDockerOptions): Promise<void> {
  const { address, log } = options;
  const ended = endSignal();
  const warn = (message: string) => log.warn(message);
  let plugin: DockerPlugin | undefined;
  const opening = Promise.withResolvers<DockerPlugin>();
  const calls = new Calls(opening.promise, log);
  try {
    let server: Deno.HttpServer<Deno.UnixAddr>;
    {
      using socket = await listenAt(address, listening((request) => calls.handle(request)));
      server = socket.listener;
      plugin = new DockerPlugin({ ...options, warn }, await InitRecord.of(socket.path));
      const store = await plugin.reopen().catch((error) => {
        // The daemon's next Init may open it.
        warn(`the store of the last Init is not open: ${messageOf(error)}`);
        return undefined;
      });
      opening.resolve(plugin);
      const { home = "", driver = "" } = store ?? {};
      log.info("serving", { address: socket.path, home, driver, pid: Deno.pid });
      notifyManager("READY=1", warn);
      log.info("ending", { signal: await ended });
      notifyManager("STOPPING=1", warn);
    }
    await drained(server, calls);
  } finally {
    await plugin?.close();
  }
}

/** Listens with the runtime's own server, without its message about that. */
function listening(
  handler: (request: Request) => Promise<Response>,
): Listening<Deno.HttpServer<Deno.UnixAddr>> {
  return {
    bind: (path) => Deno.serve({ path, onListen() {} }, handler),
    end: (server) => void server.shutdown(),
  };
}

/** Waits for the calls in progress for a limited time. Idle clients are disconnected. */
async function drained(
  server: Deno.HttpServer<Deno.UnixAddr>,
  calls: Calls,
): Promise<void> {
  const end = performance.now() + DRAIN_TIME;
  while (calls.running > 0 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const moment = new Promise<void>((resolve) => setTimeout(resolve, 100));
  await Promise.race([server.finished, moment]);
}

/** Handles the calls of clients, and writes a line to the log for each. */
class Calls {
  running = 0;

  constructor(private readonly plugin: Promise<DockerPlugin>, private readonly log: ServiceLog) {}

  async handle(request: Request): Promise<Response> {
    const start = performance.now();
    const asked = { method: "", id: "" };
    this.running++;
    let isEnded = false;
    const end = (status: number, error = "") => {
      if (isEnded) return;
      isEnded = true;
      this.running--;
      const ms = Number((performance.now() - start).toFixed(1));
      this.log.info("call", { ...asked, status, ms, ...error === "" ? {} : { error } });
    };
    try {
      const plugin = await this.plugin;
      const answered = await plugin.handle(request, (what) => Object.assign(asked, what));
      if (answered.headers.get("content-type") === TAR_TYPE) {
        return withEnd(answered, (error) => end(answered.status, error));
      }
      end(answered.status);
      return answered;
    } catch (error) {
      const answered = answerError(error);
      end(answered.status, messageOf(error));
      return answered;
    }
  }
}

/** The same answer, which calls `end` when its body was sent or has failed. */
function withEnd(answered: Response, end: (error?: string) => void): Response {
  const reader = answered.body!.getReader();
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (isCancelled) return;
        if (!done) return controller.enqueue(value);
        controller.close();
        end();
      } catch (error) {
        end(messageOf(error));
        controller.error(error);
      }
    },
    async cancel() {
      isCancelled = true;
      end("the client went away");
      await reader.cancel();
    },
  }, { highWaterMark: 0 });
  return new Response(body, answered);
}
