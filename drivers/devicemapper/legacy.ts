/**
 * Stores of old versions of Docker have all records in one file, `<home>/devicemapper/json`:
 * `{"Devices": {<id>: …}}`, with the base device under the empty id. The file is read once, its
 * records are written to separate files, and it is renamed to `json.migrated`.
 *
 * @module
 */
import { type ConfinedPath, rename } from "../../lib/tree/confined.ts";
import { isId } from "../../lib/base/ids.ts";
import { readMetadata, syncDirectory } from "../../lib/store/metadata.ts";
import {
  corrupt,
  type DeviceRecord,
  isObject,
  parseObject,
  type Records,
  toDeviceRecord,
} from "./records.ts";
import { BASE, isRecordName } from "./names.ts";

/** The records in an old file. @throws {VeneerError} `corrupt store` */
export function parseLegacy(text: string, path: string): Map<string, DeviceRecord> {
  const fields = parseObject(text, path);
  const devices = fields.Devices ?? fields.devices;
  if (!isObject(devices)) throw corrupt(path, "has no Devices");
  const records = new Map<string, DeviceRecord>();
  for (const [hash, value] of Object.entries(devices)) {
    if (hash !== BASE && !(isId(hash) && isRecordName(hash))) {
      throw corrupt(path, `names a device ${JSON.stringify(hash)}`);
    }
    if (!isObject(value)) throw corrupt(path, `has no object as device ${JSON.stringify(hash)}`);
    records.set(hash, toDeviceRecord(value, path));
  }
  return records;
}

/**
 * Converts an old file, if there is one. After a kill, the next start converts it again.
 *
 * @param directory the directory of the file
 * @param transactionId the pool's; records of later transactions are dropped, because a crash has
 * lost those
 */
export function importLegacy(
  directory: ConfinedPath,
  records: Records,
  transactionId: number,
): boolean {
  const path = directory.join("json");
  const text = readMetadata(path);
  if (text === undefined) return false;
  for (const [hash, record] of parseLegacy(text, path.text)) {
    if (record.transactionId <= transactionId) records.write(hash, record);
  }
  rename(path, path.withSuffix(".migrated"));
  syncDirectory(directory);
  return true;
}
