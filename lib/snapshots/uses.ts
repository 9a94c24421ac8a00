/**
 * Uses of snapshots: their mounts in any mount namespace.
 *
 * @module
 */
import { codeOf, reworded, VeneerError } from "../base/errors.ts";
import type { ForeignUses } from "../base/opened.ts";
import { mountNamespace } from "../store/mount_namespace.ts";
import type { RunState } from "../store/run_state.ts";
import { type LayerChain, NO_MOUNT, type SnapshotBackend } from "./backend.ts";
import { shown } from "./keys.ts";
import { MountRecords } from "./mount_records.ts";
import type { Snapshot } from "./records.ts";

/** The uses of one store's snapshots. */
export class SnapshotUses {
  readonly #records: MountRecords;

  constructor(
    readonly backend: SnapshotBackend,
    state: RunState,
    readonly foreignUses: ForeignUses,
  ) {
    this.#records = new MountRecords(state);
  }

  /** @throws {VeneerError} `in use` if the snapshot is mounted, unless mounts are ignored */
  checkUnused(snapshot: Snapshot, chain: LayerChain): void {
    const isNoUse = this.foreignUses === "ignore"
      ? NO_MOUNT
      : this.#records.othersThan(snapshot.layer);
    naming(snapshot, () => this.backend.checkUnused(chain, isNoUse));
  }

  /** Whether the mount at a directory of this process's mount namespace is one of a layer. */
  isMountedAt(chain: LayerChain, target: string): boolean {
    let found = false;
    try {
      this.backend.checkUnused(chain, ({ mount, namespace }) => {
        found ||= mount.mountPoint === target && namespace === mountNamespace();
        return true;
      });
    } catch (error) {
      if (codeOf(error) !== "in use") throw error;
    }
    return found;
  }
}

/** Adds the snapshot's name to a backend's error about its layer. */
export function naming({ name }: Snapshot, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof VeneerError)) throw error;
    throw reworded(error, `snapshot ${shown(name)}: ${error.message}`);
  }
}
