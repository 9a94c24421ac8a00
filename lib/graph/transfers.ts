/**
 * Transfers: reading a layer's content, and applying a tar to it.
 *
 * A command may be killed while it transfers, and no handler of a signal would run: the work is
 * done inside system calls. So nothing that a transfer takes has to be released by its process. Its
 * hold on the content is a lock, which the kernel ends. The mount under that hold is taken down by
 * the last transfer or, after a killed one, by the next opening of the store.
 *
 * @module
 */
import type { LockMode } from "../../ffi/flock.ts";
import { messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { RunState } from "../store/run_state.ts";
import type { Use } from "../store/layer_lock.ts";
import type { MountedLayers } from "./mounted_layers.ts";

/** The transfers of one store. */
export class Transfers {
  constructor(
    readonly mounted: MountedLayers,
    readonly state: RunState,
    readonly warn: Warn,
  ) {}

  /**
   * Begins to read a layer (shared) or to replace its content, until disposed of.
   *
   * @throws {VeneerError} `in use` if another transfer excludes it
   */
  begin(id: string, mode: LockMode): Transfer {
    return new Transfer(id, this.state.use(id, mode), this);
  }

  /** Takes down mounts of killed transfers; layers that a process works on are left alone. */
  sweep(): void {
    for (const id of this.state.transferred()) {
      using lock = this.state.tryLockLayer(id);
      if (lock === undefined || this.state.isTransferred(id)) continue;
      try {
        if (this.mounted.endTransfers(id, lock)) this.state.forgetTransfers(id);
      } catch (error) {
        this.warn(stays(id, error));
      }
    }
  }
}

/** A running transfer. */
export class Transfer implements Disposable {
  constructor(readonly id: string, readonly use: Use, readonly transfers: Transfers) {}

  /**
   * Ends the transfer, and takes down the mount for transfers of the layer if this is the last one.
   */
  unmount(): void {
    const { id, use, transfers } = this;
    try {
      using lock = transfers.state.lockLayer(id);
      if (use.isLast()) transfers.mounted.endTransfers(id, lock);
    } catch (error) {
      transfers.warn(stays(id, error));
    }
  }

  [Symbol.dispose](): void {
    this.unmount();
    this.use[Symbol.dispose]();
  }
}

const stays = (id: string, error: unknown) => `layer ${id} stays mounted: ${messageOf(error)}`;
