/**
 * The parts of a restoration of a pool's metadata, its result, and which pool a dump is of.
 *
 * @module
 */
import type { Home } from "../store/home.ts";
import type { RunState } from "../store/run_state.ts";
import type { Mender } from "./mender.ts";
import type { StoreView } from "./store_view.ts";

/** The store, the dump, and the place of what is replaced. */
export interface PoolRestoration {
  readonly of: "layers" | "snapshots";
  readonly view: StoreView;
  readonly home: Home;
  readonly state: RunState;
  readonly mender: Mender;
  /** The dump, open for reading. */
  readonly dump: number;
  /** Change nothing. */
  readonly isDry: boolean;
}

/** The metadata that was restored, or would be. */
export interface RestoredPool {
  /** The image or device. */
  readonly path: string;
  /** The number of its devices. */
  readonly devices: number;
  readonly transactionId: number;
  /** The number of devices that the store's records name and the dump does not have. */
  readonly missing: number;
}

/** The facts in a dump by which its pool is told from another one. */
export interface PoolDump {
  readonly transactionId: number;
  /** The size of a block of data, in bytes. */
  readonly blockSize: number;
  readonly blocks: number;
  /** The devices by their numbers. */
  readonly devices: ReadonlyMap<number, DumpedFacts>;
}

/** The facts about one device. */
export interface DumpedFacts {
  /** The transaction in which it was made. */
  readonly transactionId: number;
  /** The block of data with its beginning; `undefined` if that was never written to. */
  readonly first: number | undefined;
}

/** The result of comparing a dump with the pool of a store. */
export interface DumpFit {
  /** The reason why the dump is not of this pool; a clause about the dump. */
  readonly against?: string;
  /** Whether the pool's data has the store's file systems at the places that the dump names. */
  readonly isProven: boolean;
  /** Whether it has the very devices that the store's records name. */
  readonly isExact: boolean;
}
