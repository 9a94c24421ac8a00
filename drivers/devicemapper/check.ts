/**
 * Checks for damage in a devicemapper home: in the records of devices and in the pool's images.
 * Activates no device.
 *
 * @module
 */
import { O_NONBLOCK, O_RDONLY, pread, withFd } from "../../ffi/files.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { messageOf } from "../../lib/base/errors.ts";
import type { Report } from "../../lib/care/finding.ts";
import {
  adoptRecord,
  type Mending,
  prepareAgain,
  remakeLayer,
  removeEntry,
  writeRecord,
} from "../../lib/care/mending.ts";
import { checkPlaces } from "../../lib/care/own_records.ts";
import { readRecord } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { tryLstat, tryOpen } from "../../lib/tree/confined.ts";
import { reportUnknown } from "../union/check.ts";
import { isRecordName } from "./names.ts";
import { formatDeviceRecord, MAX_DEVICE_ID, parseDeviceRecord, parseObject } from "./records.ts";

/** `THIN_SUPERBLOCK_MAGIC` of the kernel's drivers/md/dm-thin-metadata.c, and its offset. */
const THIN_MAGIC = 27022010n, MAGIC_AT = 32;

/** Reports damage in a home of layers; returns the layers. */
export function checkLayers(view: StoreView, report: Report): Parents {
  const ids = checkRecords(view, report);
  checkImages(view, ids.length > 0, report);
  return new Map(ids.map((id) => [id, undefined]));
}

/**
 * The paths of a layer, of the graph or of snapshots. Its device is in the pool, under the number
 * in the record.
 */
export const pathsOf = (_view: StoreView, id: string): string[] => [`metadata/${id}`, `mnt/${id}`];

export { orphanMountPoints as orphansOfLayers } from "../union/check.ts";

/** Reports missing and damaged layers of snapshots; returns the layers. */
export function checkSnapshots(
  view: StoreView,
  { snapshots, intents }: SnapshotRows,
  report: Report,
): Iterable<string> {
  const ids = checkRecords(view, report);
  checkImages(view, ids.length > 0, report);
  const recorded = new Set(ids), known = new Set<string>(), staged = view.staged();
  for (const { layer } of snapshots) {
    known.add(layer);
    if (recorded.has(layer) || view.isIncomplete(layer)) continue;
    report({
      kind: "snapshot-device-missing",
      layer,
      file: view.join("metadata", layer).text,
      what: "is missing, and a snapshot has this device",
      ...prepareAgain(layer),
    });
  }
  for (const id of ids) {
    if (known.has(id) || intents.has(id) || staged.has(id)) continue;
    reportUnknown(view.join("metadata", id).text, id, report);
  }
  return ids;
}

/** Checks all records of devices; returns the ids of the layers. */
function checkRecords(view: StoreView, report: Report): string[] {
  checkPlaces(view, { metadata: 0o700, mnt: 0o711, devicemapper: 0o700 }, report);
  const ids: string[] = [], owners = new Map<number, string>();
  for (const name of view.names(view.join("metadata"))) {
    const isLayer = isRecordName(name);
    if (!isLayer && !["base", "deviceset-metadata", "transaction-metadata"].includes(name)) {
      continue;
    }
    const path = view.join("metadata", name), file = path.text;
    const record = readRecord(path, { most: 1 << 16 });
    if (record.fault === "missing") continue;
    const thing = isLayer ? "device" : name === "base" ? "base-device" : name;
    const layer = isLayer ? name : undefined;
    if (isLayer) ids.push(name);
    if (record.fault !== undefined) {
      const mending = record.fault === "owner" ? adoptRecord(path) : recordMending(view, name);
      report({ kind: `${thing}-${record.fault}`, layer, file, what: record.what, ...mending });
      continue;
    }
    try {
      if (!isLayer && name !== "base") {
        parseObject(record.text, file);
        continue;
      }
      const { deviceId, deleted } = parseDeviceRecord(record.text, file);
      const other = deleted ? undefined : owners.get(deviceId);
      if (!deleted) owners.set(deviceId, name);
      if (other === undefined) continue;
      const what = `has device number ${deviceId}, as ${other} has`;
      const mending = isLayer ? remakeLayer(name) : { remedy: RESTORE };
      report({ kind: `${thing}-duplicate`, layer, file, what, ...mending });
    } catch (error) {
      const what = messageOf(error).replace(`${file} `, "").replace(/; .*/, "");
      const mending = recordMending(view, name, record.text);
      report({ kind: `${thing}-invalid`, layer, file, what, ...mending });
    }
  }
  if (ids.length > 0 && tryLstat(view.join("metadata", "base")) === undefined) {
    report({
      kind: "base-device-missing",
      file: view.join("metadata", "base").text,
      what: "is missing, and layers are copies of the base device",
      remedy: "restore it from a backup; existing layers stay usable",
    });
  }
  return ids;
}

const RESTORE = "restore it from a backup";

/**
 * Finds the mending of a record.
 *
 * @param text the record's text, if it can be read
 */
function recordMending(view: StoreView, name: string, text = ""): Mending {
  const path = view.join("metadata", name);
  switch (name) {
    case "transaction-metadata":
      // If there is no note, no change of the pool is unfinished.
      return removeEntry(path);
    case "deviceset-metadata":
      return writeRecord(path, JSON.stringify({ next_device_id: nextDeviceId(view) }));
  }
  const told = deviceRecordOf(text);
  if (told !== undefined) return writeRecord(path, told);
  return name === "base" ? { remedy: RESTORE } : remakeLayer(name);
}

/**
 * A record made from a damaged one, if that still has the device's number and size; `undefined` if
 * not.
 */
function deviceRecordOf(text: string): string | undefined {
  const number = (key: string) => {
    const digits = new RegExp(`"${key}"\\s*:\\s*(\\d{1,15})\\s*[,}]`).exec(text)?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  const deviceId = number("device_id"), size = number("size");
  if (deviceId === undefined || size === undefined || deviceId > MAX_DEVICE_ID) return undefined;
  const record = formatDeviceRecord({
    deviceId,
    size,
    transactionId: number("transaction_id") ?? 0,
    initialized: !/"initialized"\s*:\s*false/.test(text),
    deleted: /"deleted"\s*:\s*true/.test(text),
  });
  try {
    parseDeviceRecord(record, "");
    return record;
  } catch {
    return undefined;
  }
}

/** A device number above all numbers in records. */
function nextDeviceId(view: StoreView): number {
  let next = 1;
  for (const name of view.names(view.join("metadata"))) {
    const { text = "" } = readRecord(view.join("metadata", name), { most: 1 << 16 });
    const id = Number(/"device_id"\s*:\s*(\d{1,8})/.exec(text)?.[1] ?? 0);
    if (id < MAX_DEVICE_ID && id >= next) next = id + 1;
  }
  return next;
}

/** Checks the pool's images, if the pool consists of images and not of given devices. */
function checkImages(view: StoreView, hasLayers: boolean, report: Report): void {
  const stat = new Stat();
  const [data, metadata] = ["data", "metadata"].map((name) => view.join("devicemapper", name));
  const found = [data, metadata].filter((path) => tryLstat(path, stat) !== undefined);
  if (!hasLayers || found.length === 0) return;
  const remedy = "restore it from a backup: without it every layer is lost";
  for (const path of [data, metadata]) {
    const name = path === data ? "data-image" : "metadata-image", file = path.text;
    const fd = tryOpen(path, O_RDONLY | O_NONBLOCK);
    const tell = (fault: string, what: string) =>
      report({ kind: `${name}-${fault}`, file, what, remedy });
    if (fd < 0) {
      tell(found.includes(path) ? "not-a-file" : "missing", "is missing or not a regular file");
      continue;
    }
    withFd(fd, () => {
      const { isFile, size } = fstat(fd, stat);
      if (!isFile) return tell("not-a-file", "is not a regular file");
      if (size === 0) return tell("empty", "is empty");
      if (path === data) return;
      const block = new Uint8Array(4096);
      const length = pread(fd, block, block.length, 0n);
      const magic = new DataView(block.buffer).getBigUint64(MAGIC_AT, true);
      if (length === block.length && magic === THIN_MAGIC) return;
      const isZero = block.every((byte) => byte === 0);
      const what = isZero ? "begins with zero bytes" : "does not begin as the metadata of a pool";
      tell(isZero ? "zeroed" : "invalid", what);
    });
  }
}
