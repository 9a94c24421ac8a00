/**
 * Removing: a snapshot's record goes, and then its layer.
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

/** How often, and at which interval in milliseconds, the free space is checked after a deletion. */
const ROOM_TRIES = 20, ROOM_PAUSE = 250;

/** Removes the snapshots of one store. */
export class Removing {
  constructor(
    readonly backend: SnapshotBackend,
    readonly uses: SnapshotUses,
    /** See `SnapshotsContext`. */
    readonly later: (() => void) | undefined,
    /** Refuses a snapshot that must not be removed now. Its layer is locked. */
    readonly check: (snapshot: Snapshot) => void,
  ) {}

  /** Removes a snapshot whose layer is locked. */
  remove(session: Session, snapshot: Snapshot): void {
    const { store, intents } = session;
    this.check(snapshot);
    for (const layer of store.reservedOn(snapshot)) intents.finishDead(layer);
    store.checkChildless(snapshot);
    this.uses.checkUnused(snapshot, store.chainToRemove(snapshot));
    try {
      // A service's layers are deleted later, after a sync of all that was removed by then.
      store.remove(snapshot, this.later === undefined ? "on disk" : "in order");
    } catch (error) {
      if (codeOf(error) !== "limit exceeded") throw error;
      this.#removeToMakeRoom(session, snapshot);
    }
    this.finish(session, snapshot);
  }

  /** Deletes the layer that a snapshot had, or marks it for a later deletion. */
  finish({ intents }: Session, { layer }: Snapshot): void {
    if (this.later === undefined) intents.tryToFinish(layer);
    else this.later();
  }

  /**
   * If the disk is too full even for a record (btrfs without space for metadata), the layer is
   * deleted before its record, while no snapshot can be built on it. A process killed in between
   * leaves a snapshot whose layer is missing; its use is refused with that reason, and it can be
   * removed.
   */
  #removeToMakeRoom({ store }: Session, snapshot: Snapshot): void {
    for (let tries = 1;; tries++) {
      try {
        return store.remove(snapshot, "on disk", () => {
          this.backend.remove(snapshot.layer);
          // Some file systems free space only with their next commit.
          writeOut(this.backend);
        });
      } catch (error) {
        if (codeOf(error) !== "limit exceeded" || tries >= ROOM_TRIES) throw error;
        sleep(ROOM_PAUSE);
      }
    }
  }
}
