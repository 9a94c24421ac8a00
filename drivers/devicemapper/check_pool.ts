/**
 * Compares the records of devices with the devices in the pool.
 *
 * The transaction that the note is of may be running, or was interrupted and will be finished by the
 * next command. Its device is left out.
 *
 * @module
 */
import type { Report } from "../../lib/care/finding.ts";
import { type Mending, remakeLayer, removeEntry, writeRecord } from "../../lib/care/mending.ts";
import { readRecord, type RecordText } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import { type ConfinedPath, exists } from "../../lib/tree/confined.ts";
import { DISCARDED_SUFFIX, isRecordName } from "./names.ts";
import { type PoolDevices, readPoolDevices, recordOfDevice } from "./pool_devices.ts";
import { type PoolSource, poolSource } from "./pool_source.ts";
import { type DeviceRecord, formatDeviceRecord, MAX_DEVICE_ID } from "./records.ts";

/** The name of the note of an unfinished transaction. */
export const NOTE = "transaction-metadata";

/** A record of a device or of the store, as a check found it. */
export interface FoundRecord {
  readonly path: ConfinedPath;
  readonly record: RecordText;
  /** Of a device; the words for its fault if it is invalid. */
  readonly device: DeviceRecord | string | undefined;
}

/** Reports the fault of a record. */
type Tell = (fault: string, what: string, mending: Mending) => void;

/** The comparison of records with a pool. */
export interface PoolComparison {
  /**
   * A new text for a record that is damaged or missing: for the device whose number it still has, or
   * for the only device without a record, if no other record is without a number.
   */
  heirOf(name: string): string | undefined;
  /** Compares a valid record. */
  check(name: string, device: DeviceRecord, tell: Tell): void;
}

const NONE: PoolComparison = { heirOf: () => undefined, check: () => {} };

/**
 * Compares the records, and reports devices without a record and a wrong note.
 *
 * @param records all records by their names
 * @param lost layers whose records are missing
 */
export function comparePool(
  view: StoreView,
  records: ReadonlyMap<string, FoundRecord>,
  lost: readonly string[],
  report: Report,
): PoolComparison {
  // A store in Docker's oldest form has its records in another file, until it is first used.
  if (exists(view.join("devicemapper", "json"))) return NONE;
  const source = poolSource(view), pool = source && readPoolDevices(source);
  if (source === undefined || pool === undefined) return NONE;
  if (typeof pool === "string") {
    if (records.size > 0) reportDamaged(source, pool, report);
    return NONE;
  }
  const numbers = numbersIn(view);
  if (source.isOnDevices && ![...numbers].some((id) => pool.devices.has(id))) {
    // Nothing is to be made or given up after a mistake in an option.
    if (numbers.size > 0) reportOther(source, report);
    return NONE;
  }
  const note = noteOf(records.get(NOTE)), { transactionId, devices } = pool;
  const isOpen = note !== undefined && note.openTransactionId === transactionId + 1;
  checkNote(note, pool, records, report);
  const blank = [...withoutNumber(records), ...lost];
  if (!records.has("base") && [...records.keys()].some(isRecordName)) blank.push("base");
  const strays = [...devices.keys()].filter((id) =>
    !numbers.has(id) && !(isOpen && note.deviceId === id)
  );
  const [stray] = strays, hasHeir = strays.length === 1 && blank.length === 1;
  // A record that belongs to another user is adopted first, and its device is then no stray.
  const isTold = [...records.values()].every(({ record }) => record.fault !== "owner");
  if (!hasHeir && isTold) { for (const id of strays) reportStray(view, id, pool, report); }
  return {
    heirOf: (name) => {
      const own = numberIn(records.get(name)?.record.text);
      const id = own ?? (hasHeir && blank[0] === name ? stray : undefined);
      return id !== undefined && devices.has(id) ? recordOfDevice(view, id, pool) : undefined;
    },
    check: (name, device, tell) => {
      if (device.deleted || isOpen && note.hash === (name === "base" ? "" : name)) return;
      checkDevice(view, name, device, pool, tell);
    },
  };
}

function checkDevice(
  view: StoreView,
  name: string,
  device: DeviceRecord,
  { transactionId, devices }: PoolDevices,
  tell: Tell,
): void {
  const { deviceId } = device, made = devices.get(deviceId);
  const loss = isRecordName(name)
    ? remakeLayer(name)
    : { remedy: "restore the pool from a backup; existing layers stay usable" };
  if (made === undefined) {
    return tell("not-in-pool", `is of device ${deviceId}, which the pool does not have`, loss);
  }
  if (device.transactionId <= transactionId) return;
  const what = `is of transaction ${device.transactionId}, and the pool is at ${transactionId}`;
  // The next command would delete the device. If the pool made it then, only its id was not counted.
  const isSame = made + 1 === device.transactionId;
  const text = formatDeviceRecord({ ...device, transactionId });
  tell("ahead", what, isSame ? writeRecord(view.join("metadata", name), text) : loss);
}

function reportDamaged(source: PoolSource, what: string, report: Report): void {
  report({
    kind: `metadata-${source.isOnDevices ? "device" : "image"}-damaged`,
    file: source.path("metadata"),
    what: `is damaged: ${what}`,
    remedy: "have a repair make it again from a dump of thin_dump, or use thin_repair",
  });
}

function reportOther(source: PoolSource, report: Report): void {
  report({
    kind: "metadata-device-other",
    file: source.path("metadata"),
    what: "has none of the devices that the records name",
    remedy: "name the pool that this store was made with: dm.thinpooldev or dm.metadatadev",
  });
}

/** A device without a record gets one under a new name, so that its files can be looked at. */
function reportStray(view: StoreView, id: number, pool: PoolDevices, report: Report): void {
  const text = recordOfDevice(view, id, pool);
  let path = view.join("metadata", `found-${id}`);
  for (let again = 2; exists(path); again++) path = view.join("metadata", `found-${id}-${again}`);
  report({
    kind: "device-without-record",
    file: pool.source.path("metadata"),
    what: `has device ${id}, which no record names`,
    ...text === undefined
      ? { remedy: "restore its record, or delete it in the pool" }
      : { ...writeRecord(path, text), remedy: `give it a record, as layer ${path.name}` },
  });
}

/** The part of a note that is compared. */
interface Note {
  readonly path: ConfinedPath;
  readonly openTransactionId: number;
  readonly hash: string;
  readonly deviceId: number;
}

function noteOf(found: FoundRecord | undefined): Note | undefined {
  if (found?.record.text === undefined) return undefined;
  try {
    const fields = JSON.parse(found.record.text);
    const { open_transaction_id: id, device_hash: hash, device_id: deviceId } = fields;
    if (!Number.isSafeInteger(id) || !Number.isSafeInteger(deviceId)) return undefined;
    return { path: found.path, openTransactionId: id, hash: String(hash ?? ""), deviceId };
  } catch {
    return undefined; // It is reported as invalid.
  }
}

function checkNote(
  note: Note | undefined,
  { transactionId }: PoolDevices,
  records: ReadonlyMap<string, FoundRecord>,
  report: Report,
): void {
  if (note === undefined || note.openTransactionId <= transactionId) return;
  const { path, openTransactionId, hash, deviceId } = note;
  const tell = (fault: string, what: string) =>
    report({ kind: `${NOTE}-${fault}`, file: path.text, what, ...removeEntry(path) });
  if (openTransactionId > transactionId + 1) {
    return tell(
      "ahead",
      `is of transaction ${openTransactionId}, and the pool is at ${transactionId}`,
    );
  }
  const own = hash === "" ? "base" : hash;
  for (const [name, { device }] of records) {
    if (name === own || typeof device !== "object" || device.deviceId !== deviceId) continue;
    return tell("wrong", `names device ${deviceId}, which is that of ${name}, as one to delete`);
  }
}

/** The names of the records of devices whose numbers cannot be read. */
const withoutNumber = (records: ReadonlyMap<string, FoundRecord>): string[] =>
  [...records].filter(([name, { record }]) =>
    (name === "base" || isRecordName(name)) && numberIn(record.text) === undefined
  ).map(([name]) => name);

/** All device numbers in records, also in damaged ones. */
export function numbersIn(view: StoreView): Set<number> {
  const numbers = new Set<number>();
  for (const name of view.names(view.join("metadata"))) {
    if (name !== "base" && !isRecordName(name) && !name.endsWith(DISCARDED_SUFFIX)) continue;
    const { text } = readRecord(view.join("metadata", name), { most: 1 << 16 });
    const number = numberIn(text);
    if (number !== undefined) numbers.add(number);
  }
  return numbers;
}

/** The device number in a record, which may be damaged otherwise. */
export function numberIn(text: string | undefined): number | undefined {
  const digits = /"device_id"\s*:\s*(\d{1,8})\s*[,}]/.exec(text ?? "")?.[1];
  const number = Number(digits ?? NaN);
  return number <= MAX_DEVICE_ID ? number : undefined;
}
