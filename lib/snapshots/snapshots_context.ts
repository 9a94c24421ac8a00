/**
 * The parts and settings of a store of snapshots.
 *
 * @module
 */
import type { IdMaps } from "../base/id_maps.ts";
import type { Inflater } from "../base/inflater.ts";
import type { ForeignUses } from "../base/opened.ts";
import type { SyncMode } from "../base/sync_mode.ts";
import type { Warn } from "../base/warn.ts";
import type { MountPort } from "../mount/plan.ts";
import type { SnapshotBackend } from "./backend.ts";
import type { SnapshotLimits } from "./limits.ts";
import type { Purpose } from "./session.ts";

/** The parts and settings of a snapshotter. */
export interface SnapshotsContext {
  readonly backend: SnapshotBackend;
  readonly port: MountPort;
  /** Gets warnings of one line each. */
  readonly warn: Warn;
  /**
   * The data that is on disk before a snapshot counts as committed; `none` by default. With
   * {@linkcode later}, records are on disk when a call returns only if this is `filesystem`.
   */
  readonly sync?: SyncMode;
  /** The maps between ids in tars and on disk; `IDENTITY` by default. */
  readonly idMaps?: IdMaps;
  /** The number of Workers that help an apply: 0 or 1, which is the default. */
  readonly workers?: number;
  /** What decompresses tars; `auto` by default. */
  readonly inflater?: Inflater;
  /**
   * Whether commits and removals refuse mounted snapshots, which is the default. A service alone
   * uses its store, and the mounts are those of the engine that calls it.
   */
  readonly foreignUses?: ForeignUses;
  /**
   * Called when a layer waits for deletion. If it is given, only
   * `Snapshots.deleteRemoved` deletes layers; opening the store and removing snapshots do
   * not. This is for a service, whose callers should wait neither for deletions nor for records to
   * be on disk.
   */
  readonly later?: () => void;
  /** The purpose of opening the store; `change` by default. */
  readonly purpose?: Purpose;
  /**
   * The limits of containers' snapshots whose labels ask for none; `NO_LIMITS` by
   * default.
   */
  readonly limits?: SnapshotLimits;
  /**
   * The least time for which a count of `Snapshots.agedUsage` may be used again, in
   * seconds.
   */
  readonly usageAge?: number;
  /**
   * Whether clients map the ids of their mounts as labels ask for (`remap.ts`); false by default.
   */
  readonly isRemapped?: boolean;
}
