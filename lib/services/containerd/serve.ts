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
  /** The name of the snapshotter that requests must have. */
  readonly name: string;
  readonly store: LaneStore;
  /** Keeps a store, named by its home, for this service. @throws {VeneerError} `in use` */
  readonly hold: (home: string) => Disposable;
  readonly startLane: () => LanePort;
  readonly log: ServiceLog;
}

/**
 * Threads that have the store opened. More make nothing faster, since SQLite has one writer at a
 * time. Of the quick ones, one does the work, and others go on while it waits for a lock of another
 * process; the slow ones delete, count and clean up.
 */
const LANES = { quick: 4, slow: 3 };

/** How long calls that run are waited for at the end, in milliseconds. */
const DRAIN_TIME = 30_000;

/**
 * Serves until SIGTERM or SIGINT; a second one ends the process at once, which loses nothing that
 * was answered.
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
 * Serves by lanes until the end.
 *
 * @param begin is called once the socket is this service's, and may refuse
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
