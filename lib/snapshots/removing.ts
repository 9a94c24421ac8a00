/**
 * Removes snapshots: first a snapshot's record, then its layer.
 *
 * @module
 */
import { codeOf } from "../base/errors.ts";
import { sleep } from "../base/sleep.ts";
import type { SnapshotBackend } from "./backend.ts";
import { writeOut } from "./committing.ts";
import type { Snapshot } from "./records.ts";
import type { Session } from "./session.ts";
import type { SnapshotUses } from "./uses.ts";

/** The number of tries to remove a record on a full disk, and the milliseconds between them. */
const ROOM_TRIES = 20, ROOM_PAUSE = 250;

/** Removes the snapshots of one store. */
export class Removing {
  constructor(
    readonly backend: SnapshotBackend,
    readonly uses: SnapshotUses,
    /** See `SnapshotsContext`. */
    readonly later: (() => void) | undefined,
    /** Refuses a snapshot that must not be removed now. The caller holds the lock of its layer. */
    readonly check: (snapshot: Snapshot) => void,
  ) {}

  /** Removes a snapshot. The caller holds the lock of its layer. */
  remove(session: Session, snapshot: Snapshot): void {
    const { store, intents } = session;
    this.check(snapshot);
    for (const layer of store.reservedOn(snapshot)) intents.finishDead(layer);
    store.rules.checkChildless(snapshot);
    this.uses.checkUnused(snapshot, store.chainToRemove(snapshot));
    try {
      // A service's layers are deleted later, after a sync of all removals until then.
      store.remove(snapshot, this.later === undefined ? "on disk" : "in order");
    } catch (error) {
      if (codeOf(error) !== "limit exceeded") throw error;
      this.#removeToMakeRoom(session, snapshot);
    }
    this.finish(session, snapshot);
  }

  /**
   * Deletes the layer of a removed snapshot or, in a service, announces it for a later deletion.
   */
  finish({ intents }: Session, { layer }: Snapshot): void {
    if (this.later === undefined) intents.tryToFinish(layer);
    else this.later();
  }

  /**
   * Deletes the layer before its record, while no snapshot can be built on it. This is for a disk
   * that is too full even for a record, such as a btrfs without space for metadata. If the process
   * is killed in between, the snapshot's layer is missing: its use is refused with that reason, and
   * it can be removed.
   */
  #removeToMakeRoom({ store }: Session, snapshot: Snapshot): void {
    for (let tries = 1;; tries++) {
      try {
        return store.remove(snapshot, "on disk", () => {
          this.backend.remove(snapshot.layer);
          // Some file systems free space only at their next commit.
          writeOut(this.backend);
        });
      } catch (error) {
        if (codeOf(error) !== "limit exceeded" || tries >= ROOM_TRIES) throw error;
        sleep(ROOM_PAUSE);
      }
    }
  }
}
