/**
 * Transactions: a change of the pool and of its records is made completely or not at all.
 *
 * A transaction creates or deletes one device. Before the pool is changed, a note is written; an
 * increase of the pool's transaction id ends the transaction. If an error or a kill interrupts it,
 * there is a note with an id that the pool has not reached. Then the device and its record are
 * removed: that undoes a creation, and completes a deletion.
 *
 * @module
 */
import { EBUSY, ENODATA } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import type { Pool, PoolStatus } from "./pool.ts";
import type { Records, TransactionRecord } from "./records.ts";
import type { Warn } from "../../lib/base/warn.ts";

/** The parts that {@linkcode Transactions} changes. */
export interface TransactionContext {
  readonly pool: Pick<Pool, "tryDelete" | "setTransactionId">;
  readonly records: Records;
  /** Unmounts and deactivates a device that is about to be deleted. */
  readonly release: (hash: string) => void;
  readonly warn: Warn;
}

/** The error if the pool already has a device with a transaction's number. */
export class DeviceIdTaken extends Error {
  constructor(deviceId: number) {
    super(`device number ${deviceId} is taken`);
  }
}

/** The transactions of one store. Callers hold the lock of its devices. */
export class Transactions {
  readonly #context: TransactionContext;
  #id = 0;

  constructor(context: TransactionContext) {
    this.#context = context;
  }

  /** The pool's transaction id, as of the last transaction or recovery here. */
  get id(): number {
    return this.#id;
  }

  /**
   * Makes or deletes a device.
   *
   * @param change makes the change; it gets the transaction id for the device's record
   */
  run<T>(hash: string, deviceId: number, change: (transactionId: number) => T): T {
    const { pool, records } = this.#context;
    const note = { openTransactionId: this.#id + 1, hash, deviceId };
    records.writeTransaction(note);
    let result: T;
    try {
      result = change(note.openTransactionId);
      pool.setTransactionId(this.#id, note.openTransactionId);
    } catch (error) {
      // The device existed before this transaction, so it must not be deleted.
      if (error instanceof DeviceIdTaken) records.removeTransaction();
      else this.#rollBack(note);
      throw error;
    }
    this.#id = note.openTransactionId;
    records.removeTransaction();
    return result;
  }

  /** Finishes a transaction that an earlier process left open. */
  recover({ transactionId }: PoolStatus): void {
    this.#id = transactionId;
    const { records, warn } = this.#context;
    const note = records.readTransaction();
    if (note === undefined) return;
    if (note.openTransactionId === transactionId + 1) this.#rollBack(note);
    else if (note.openTransactionId !== transactionId) {
      warn(
        `a transaction ${note.openTransactionId} is recorded, and the pool is at ${transactionId}: ` +
          "another program used the pool; nothing was rolled back",
      );
    }
    records.removeTransaction();
  }

  #rollBack({ hash, deviceId }: TransactionRecord): void {
    const { pool, records, release, warn } = this.#context;
    const record = records.tryRead(hash);
    // A record with another number belongs to a device that this transaction does not concern.
    const isItsRecord = record?.deviceId === deviceId;
    if (!isItsRecord && records.deviceIds().has(deviceId)) {
      warn(`a transaction names device ${deviceId} for ${hash || "the base"}, and it is another's`);
      return records.removeTransaction();
    }
    if (isItsRecord || record === undefined) {
      try {
        release(hash);
      } catch (error) {
        warn(error instanceof Error ? error.message : String(error));
      }
    }
    const result = pool.tryDelete(deviceId);
    if (result === -EBUSY && isItsRecord) {
      // It cannot be deleted yet, so it is recorded for deletion.
      if (!record.deleted) records.write(hash, { ...record, deleted: true });
      warn(`device ${deviceId} of ${hash || "the base"} is busy; it is deleted when it is free`);
    } else {
      if (result !== -ENODATA) unwrap(result, "device-mapper message", `delete ${deviceId}`);
      if (isItsRecord) records.remove(hash);
    }
    records.removeTransaction();
  }
}
