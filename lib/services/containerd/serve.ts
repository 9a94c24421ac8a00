/**
 * The service for containerd: its snapshots API on a Unix socket.
 *
 * ```text
 * socket ── Connection (HTTP/2) ── GrpcCall ── Lanes ──▶ Worker: snapshotter
 *              frames, windows      status       └─────▶ Worker: snapshotter
 * ```
 *
 * This thread only moves bytes. The lanes wait for the store.
 *
 * @module
 */
import { GrpcServer } from "../grpc/server.ts";
import { Lanes } from "../lanes/lanes.ts";
import type { LanePort, LaneStore } from "../lanes/protocol.ts";
import type { ServiceLog } from "../log.ts";
import { notifyManager } from "../notify.ts";
import { endSignal } from "../signals.ts";
import { CONNECTIONS, listenAt } from "../socket.ts";
import { Janitor } from "./janitor.ts";
import { LogSyncer } from "./log_syncer.ts";
import { snapshotsService } from "./methods.ts";
import type { LaneCall } from "./perform.ts";

/** The settings of the service. */
export interface ServeOptions {
  /** The socket's path. */
  readonly address: string;
  /** The snapshotter's name, which requests must contain. */
  readonly name: string;
  readonly store: LaneStore;
  /** Reserves the store with a home for this service. @throws {VeneerError} `in use` */
  readonly hold: (home: string) => Disposable;
  readonly startLane: () => LanePort;
  readonly log: ServiceLog;
}

/**
 * The most threads that have the store open. More would not be faster, because SQLite has one
 * writer at a time. One quick lane does the work; the others continue while it waits for a lock of
 * another process. Slow lanes delete, count and clean up.
 */
const LANES = { quick: 4, slow: 3 };

/** The longest wait for running calls at the end, in milliseconds. */
const DRAIN_TIME = 30_000;

/**
 * Serves until SIGTERM or SIGINT. A second one ends the process at once; no change that was
 * answered is lost.
 *
 * @throws {VeneerError} as opening the store and {@linkcode listenAt} do
 */
export async function serveContainerd(options: ServeOptions): Promise<void> {
  const { store, startLane, log } = options;
  const ended = endSignal();
  const warn = (message: string) => log.warn(message);
  const janitor = new Janitor(warn);
  const leftover = () => janitor.wake();
  const lanes = await Lanes.open<LaneCall>({
    start: startLane,
    store,
    most: LANES,
    warn,
    leftover,
  });
  const syncer = new LogSyncer(lanes.home, warn);
  let hold: Disposable | undefined;
  try {
    const begin = () => {
      hold = options.hold(lanes.home);
      janitor.start(lanes);
    };
    await serveBy(lanes, options, { begin, ended, syncer });
  } finally {
    await janitor.stop();
    await syncer.stop();
    await lanes.close();
    hold?.[Symbol.dispose]();
  }
}

/**
 * Serves with lanes until the end.
 *
 * @param begin called when this service has the socket; it may throw
 */
async function serveBy(
  lanes: Lanes<LaneCall>,
  { address, name, log }: ServeOptions,
  { begin, ended, syncer }: {
    readonly begin: () => void;
    readonly ended: Promise<string>;
    readonly syncer: LogSyncer;
  },
): Promise<void> {
  const warn = (message: string) => log.warn(message);
  const server = new GrpcServer(snapshotsService(lanes, name, syncer), log);
  let accepting: Promise<void>;
  {
    using socket = await listenAt(address, CONNECTIONS);
    begin();
    const { home, driver } = lanes;
    log.info("serving", { address: socket.path, home, driver, pid: Deno.pid });
    accepting = server.accept(socket.listener);
    notifyManager("READY=1", warn);
    log.info("ending", { signal: await ended });
    notifyManager("STOPPING=1", warn);
  }
  await server.drain(DRAIN_TIME);
  await accepting;
}
