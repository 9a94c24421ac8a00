/**
 * A store's records of its devices: small JSON files in `<home>/metadata`, in Docker's form.
 *
 * ```text
 * base, <id>            {"device_id":N,"size":N,"transaction_id":N,"initialized":B,"deleted":B}
 * deviceset-metadata    {"next_device_id":N,"BaseDeviceUUID":"…","BaseDeviceFilesystem":"…"}
 * transaction-metadata  {"open_transaction_id":N,"device_hash":"…","device_id":N}
 * ```
 *
 * Each file is replaced as a whole (`metadata.ts`). If a record is damaged, only operations that
 * need it fail, and the error names the file.
 *
 * @module
 */
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { RENAME_EXCHANGE } from "../../ffi/names.ts";
import { type ConfinedPath, exists, list, rename, tryUnlink } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import {
  readMetadata,
  removeMetadata,
  syncDirectory,
  TEMPORARY_SUFFIX,
  writeMetadata,
} from "../../lib/store/metadata.ts";
import { BASE, DISCARDED_SUFFIX, isRecordName } from "./names.ts";

/** The record of a thin device. */
export interface DeviceRecord {
  /** Its number in the pool: 24 bits. */
  readonly deviceId: number;
  /** In bytes. */
  readonly size: number;
  /** The transaction of the pool in which the device was made. */
  readonly transactionId: number;
  /**
   * Of the base: whether it has its file system. Of a layer: whether it was activated for writing.
   */
  readonly initialized: boolean;
  /** Whether the device is to be deleted. */
  readonly deleted: boolean;
}

/** The properties of the whole store. */
export interface DeviceSetRecord {
  readonly nextDeviceId: number;
  /** The UUID of the base device's file system; `""` if it was not recorded. */
  readonly baseUuid: string;
  readonly baseFileSystem: string;
}

/** The note of a change of the pool that is not finished. */
export interface TransactionRecord {
  /** The pool's transaction id after the change. */
  readonly openTransactionId: number;
  readonly hash: string;
  readonly deviceId: number;
}

/** Device numbers are 24 bits: the kernel's drivers/md/dm-thin.c, `MAX_DEV_ID`. */
export const MAX_DEVICE_ID = 0xffffff;

const SET_FILE = "deviceset-metadata";
const TRANSACTION_FILE = "transaction-metadata";

/** The files of one store. Writers hold the lock of its devices. */
export class Records {
  constructor(readonly directory: ConfinedPath) {}

  /** The file of a device's record. */
  path(hash: string): ConfinedPath {
    return this.directory.join(hash === BASE ? "base" : hash);
  }

  /** The ids of all layers with a record, including those that are to be deleted. */
  ids(): string[] {
    return list(this.directory).filter(isRecordName);
  }

  /** The hashes of devices that wait for their deletion after a reset. */
  discarded(): string[] {
    return list(this.directory).filter((name) => name.endsWith(DISCARDED_SUFFIX));
  }

  /** @throws {VeneerError} `corrupt store` if the record is invalid */
  read(hash: string): DeviceRecord | undefined {
    const path = this.path(hash);
    const text = readMetadata(path);
    return text === undefined ? undefined : parseDeviceRecord(text, path.text);
  }

  /** The same; `undefined` if the record is damaged, too. */
  tryRead(hash: string): DeviceRecord | undefined {
    try {
      return this.read(hash);
    } catch {
      return undefined;
    }
  }

  has(hash: string): boolean {
    return exists(this.path(hash));
  }

  write(hash: string, record: DeviceRecord): void {
    writeMetadata(this.path(hash), formatDeviceRecord(record));
  }

  remove(hash: string): void {
    removeMetadata(this.path(hash));
  }

  /** Swaps the records of two devices at once. */
  exchange(one: string, other: string): void {
    rename(this.path(one), this.path(other), RENAME_EXCHANGE);
    syncDirectory(this.directory);
  }

  /**
   * All numbers in use according to the records. The number can usually still be read from a
   * damaged record.
   */
  deviceIds(): Set<number> {
    const taken = new Set<number>();
    for (const hash of [BASE, ...this.ids(), ...this.discarded()]) {
      const text = this.#tryReadText(hash);
      const id = /"device_id"\s*:\s*(\d+)/.exec(text ?? "")?.[1];
      if (id !== undefined) taken.add(Number(id));
    }
    return taken;
  }

  /** A record's text; `undefined` if it is missing, `""` if it cannot be read. */
  #tryReadText(hash: string): string | undefined {
    try {
      return readMetadata(this.path(hash));
    } catch {
      return "";
    }
  }

  /** @throws {VeneerError} `corrupt store` */
  readSet(): DeviceSetRecord | undefined {
    const path = this.directory.join(SET_FILE);
    const text = readMetadata(path);
    if (text === undefined) return undefined;
    const file = path.text, fields = parseObject(text, file);
    return {
      nextDeviceId: integer(fields, "next_device_id", file, 0),
      baseUuid: string(fields, "BaseDeviceUUID", file),
      baseFileSystem: string(fields, "BaseDeviceFilesystem", file),
    };
  }

  writeSet({ nextDeviceId, baseUuid, baseFileSystem }: DeviceSetRecord): void {
    writeMetadata(
      this.directory.join(SET_FILE),
      JSON.stringify({
        next_device_id: nextDeviceId,
        BaseDeviceUUID: baseUuid,
        BaseDeviceFilesystem: baseFileSystem,
      }),
    );
  }

  /** @throws {VeneerError} `corrupt store` */
  readTransaction(): TransactionRecord | undefined {
    const path = this.directory.join(TRANSACTION_FILE);
    const text = readMetadata(path);
    if (text === undefined) return undefined;
    const file = path.text, fields = parseObject(text, file);
    return {
      openTransactionId: integer(fields, "open_transaction_id", file),
      hash: string(fields, "device_hash", file),
      deviceId: integer(fields, "device_id", file),
    };
  }

  /**
   * The hash of the device in a transaction's note; `undefined` if the note is missing or damaged.
   */
  noted(): string | undefined {
    try {
      return this.readTransaction()?.hash;
    } catch {
      return undefined; // Operations that make changes report it.
    }
  }

  writeTransaction({ openTransactionId, hash, deviceId }: TransactionRecord): void {
    writeMetadata(
      this.directory.join(TRANSACTION_FILE),
      JSON.stringify({
        open_transaction_id: openTransactionId,
        device_hash: hash,
        device_id: deviceId,
      }),
    );
  }

  /**
   * Not synced: a note that comes back after a power failure is of a transaction that the pool has
   * recorded as done.
   */
  removeTransaction(): void {
    removeMetadata(this.directory.join(TRANSACTION_FILE), false);
  }

  /** Deletes temporary files of killed writers. */
  sweep(): void {
    for (const name of list(this.directory)) {
      if (name.endsWith(TEMPORARY_SUFFIX)) tryUnlink(this.directory.join(name));
    }
  }
}

/** @throws {VeneerError} `corrupt store` with the file's path */
export function parseDeviceRecord(text: string, path: string): DeviceRecord {
  return toDeviceRecord(parseObject(text, path), path);
}

/** The same for an object that was already parsed. */
export function toDeviceRecord(fields: Fields, path: string): DeviceRecord {
  const deviceId = integer(fields, "device_id", path);
  if (deviceId > MAX_DEVICE_ID) throw corrupt(path, `has the device_id ${deviceId}`);
  const size = integer(fields, "size", path);
  if (size === 0 || size % SECTOR_SIZE !== 0) throw corrupt(path, `has the size ${size}`);
  return {
    deviceId,
    size,
    transactionId: integer(fields, "transaction_id", path),
    initialized: boolean(fields, "initialized", path),
    deleted: boolean(fields, "deleted", path),
  };
}

/** A record's text, as Docker writes it. */
export function formatDeviceRecord(record: DeviceRecord): string {
  return JSON.stringify({
    device_id: record.deviceId,
    size: record.size,
    transaction_id: record.transactionId,
    initialized: record.initialized,
    deleted: record.deleted,
  });
}

/** A JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** @throws {VeneerError} `corrupt store` if the text is not a JSON object */
export function parseObject(text: string, path: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw corrupt(path, text === "" ? "is empty" : "is not JSON: it was cut short or overwritten");
  }
  if (isObject(value)) return value;
  throw corrupt(path, "holds no JSON object");
}

export const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function integer(fields: Fields, key: string, path: string, otherwise?: number): number {
  const value = fields[key] ?? otherwise;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw corrupt(path, `has no number as ${key}`);
}

function string(fields: Fields, key: string, path: string): string {
  const value = fields[key] ?? "";
  if (typeof value === "string") return value;
  throw corrupt(path, `has no text as ${key}`);
}

function boolean(fields: Fields, key: string, path: string): boolean {
  const value = fields[key] ?? false;
  if (typeof value === "boolean") return value;
  throw corrupt(path, `has neither true nor false as ${key}`);
}

/** The error for a damaged file. */
export function corrupt(path: string, what: string): VeneerError {
  return new VeneerError(
    "corrupt store",
    `${path} ${what}; restore it from a copy, or delete it to give its device up`,
  );
}
