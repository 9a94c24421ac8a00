/**
 * The service for containerd: its snapshots API on a Unix socket.
 *
 * ```text
 * socket ── Connection (HTTP/2) ── GrpcCall ── Lanes ──▶ Worker: snapshotter
 *              frames, windows      status       └─────▶ Worker: snapshotter
 * ```
 *
 * This thread moves bytes and never waits for a store; lanes do.
 *
 * @module
 */
import { GrpcServer } from "../grpc/listen.ts";
import { Lanes } from "../lanes/lanes.ts";
import type { LanePort, LaneStore } from "../lanes/protocol.ts";
import type { ServiceLog } from "../log.ts";
import { listenAt } from "../socket.ts";
import type { SnapshotCall } from "./messages.ts";
import { snapshotsService } from "./methods.ts";

/** What the service is run with. */
export interface ServeOptions {
  /** The socket's path. */
  readonly address: string;
  readonly store: LaneStore;
  readonly startLane: () => LanePort;
  readonly log: ServiceLog;
}

/**
 * Threads that have the store opened. More make nothing faster, since SQLite has one writer at a time; they let three
 * slow calls, such as the removal of a large layer, run beside what else is asked.
 */
const LANES = 4;

/** How often idle lanes are looked for, in milliseconds. */
const TRIM_INTERVAL = 10_000;

/** How long calls that run are waited for at the end, in milliseconds. */
const DRAIN_TIME = 30_000;

/**
 * Serves until SIGTERM or SIGINT; a second one ends the process at once, which loses nothing that was answered.
 *
 * @throws {VeneerError} as opening the store and {@linkcode listenAt} do
 */
export async function serveContainerd(options: ServeOptions): Promise<void> {
  const { address, store, startLane, log } = options;
  const ended = endSignal();
  const warn = (message: string) => log.warn(message);
  const lanes = await Lanes.open<SnapshotCall>({ start: startLane, store, count: LANES, warn });
  const trimming = setInterval(() => lanes.trim(performance.now()), TRIM_INTERVAL);
  try {
    const server = new GrpcServer(snapshotsService(lanes), log);
    let accepting: Promise<void>;
    {
      using socket = await listenAt(address);
      const { home, driver } = lanes;
      log.info("serving", { address: socket.path, home, driver, pid: Deno.pid });
      accepting = server.accept(socket.listener);
      log.info("ending", { signal: await ended });
    }
    await server.drain(DRAIN_TIME);
    await accepting;
  } finally {
    clearInterval(trimming);
    await lanes.close();
  }
}

/** Resolves with the first signal to end; the next one has its usual effect. */
function endSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const signals = ["SIGTERM", "SIGINT"] as const;
  const handlers = signals.map((signal) => {
    const handler = () => {
      for (const [i, other] of signals.entries()) Deno.removeSignalListener(other, handlers[i]);
      resolve(signal);
    };
    Deno.addSignalListener(signal, handler);
    return handler;
  });
  return promise;
}
