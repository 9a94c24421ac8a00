/**
 * The parts and settings of a graph.
 *
 * @module
 */
import type { Inflater } from "../base/inflater.ts";
import type { ForeignUses } from "../base/opened.ts";
import type { SyncMode } from "../base/sync_mode.ts";
import type { Warn } from "../base/warn.ts";
import type { MountPort } from "../mount/plan.ts";
import type { LayerBackend } from "./backend.ts";
import type { RecordKind } from "./content_format.ts";

/** The parts and settings of a graph. */
export interface GraphContext {
  readonly backend: LayerBackend;
  readonly port: MountPort;
  /** Gets warnings of one line each. */
  readonly warn: Warn;
  /** The data that is on disk before a layer counts as applied. */
  readonly sync: SyncMode;
  /** How many Workers help an apply: none or one, which is the default. */
  readonly workers?: number;
  /** What decompresses tars; `auto` by default. */
  readonly inflater?: Inflater;
  /**
   * The facts about files that an apply records: none; types, sizes and attributes; or also hashes,
   * and the digest of the tar.
   */
  readonly record?: RecordKind;
  /**
   * The treatment of mounts of layers that are not Veneer's: operations that they obstruct are
   * refused (the default); or they count as Veneer's, for a service that has the store to itself.
   */
  readonly foreignUses?: ForeignUses;
}
