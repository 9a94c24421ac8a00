/**
 * Checks for damage in a devicemapper home: in the pool's images, in the records of devices, and
 * between the records and the devices that the pool's metadata has. Activates no device.
 *
 * A pool on devices is compared if options name these or the pool, or if the pool is active.
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
import { checkPlaces, withOwnParents } from "../../lib/care/own_records.ts";
import { readRecord, type RecordText } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { tryLstat, tryOpen } from "../../lib/tree/confined.ts";
import { reportUnknown } from "../union/check.ts";
import { isRecordName } from "./names.ts";
import { DeviceTrees } from "./layer_trees.ts";
import { comparePool, type FoundRecord, NOTE } from "./check_pool.ts";
import {
  type DeviceRecord,
  formatDeviceRecord,
  MAX_DEVICE_ID,
  parseDeviceRecord,
  parseObject,
} from "./records.ts";

/** `THIN_SUPERBLOCK_MAGIC` of the kernel's drivers/md/dm-thin-metadata.c, and its offset. */
const THIN_MAGIC = 27022010n, MAGIC_AT = 32;

/** The trees of layers, for a comparison of their contents. */
export const openTrees = (view: StoreView, of: "layers" | "snapshots"): DeviceTrees =>
  new DeviceTrees(view, of);

/** Reports damage in a home of layers; returns the layers. */
export function checkLayers(view: StoreView, report: Report): Parents {
  const layers = new Set(view.names(view.join("metadata")).filter(isRecordName));
  // A layer with children is not removed, so these were lost.
  const lost = new Set<string>();
  for (const parent of withOwnParents(view, unknownParents(layers)).values()) {
    if (parent && isRecordName(parent) && !layers.has(parent)) lost.add(parent);
  }
  const ids = checkRecords(view, { layers: [...lost], of: "layers" }, report);
  return unknownParents(ids);
}

const unknownParents = (ids: Iterable<string>): Parents =>
  new Map([...ids].map((id) => [id, undefined]));

/**
 * The paths of a layer, of the graph or of snapshots. Its device is in the pool, under the number
 * in the record.
 */
export const pathsOf = (_view: StoreView, id: string): string[] => [`metadata/${id}`, `mnt/${id}`];

export { restorePool } from "./restore_pool.ts";
export { fitOfDump, readPoolDump } from "./dump_fit.ts";
export { orphanMountPoints as orphansOfLayers } from "../union/check.ts";

/** Reports missing and damaged layers of snapshots; returns the layers. */
export function checkSnapshots(
  view: StoreView,
  { snapshots, intents }: SnapshotRows,
  report: Report,
): Iterable<string> {
  const staged = view.staged(), known = new Set(snapshots.map(({ layer }) => layer));
  const isLost = (layer: string) =>
    isRecordName(layer) && !view.isIncomplete(layer) &&
    tryLstat(view.join("metadata", layer)) === undefined;
  const ids = checkRecords(view, { layers: [...known].filter(isLost), of: "snapshots" }, report);
  for (const id of ids) {
    if (known.has(id) || intents.has(id) || staged.has(id)) continue;
    reportUnknown(view.join("metadata", id).text, id, report);
  }
  return ids;
}

/** Layers without a record that something names. */
interface Lost {
  readonly layers: readonly string[];
  readonly of: "layers" | "snapshots";
}

/**
 * Checks the images and all records of devices; returns the ids of the layers.
 *
 * @param lost layers whose records are missing
 */
function checkRecords(view: StoreView, lost: Lost, report: Report): string[] {
  checkPlaces(view, { metadata: 0o700, mnt: 0o711, devicemapper: 0o700 }, report);
  const records = readRecords(view);
  const ids = [...records.keys()].filter(isRecordName);
  checkImages(view, ids.length > 0, report);
  const pool = comparePool(view, records, lost.layers, report);
  const owners = new Map<number, string>();
  for (const [name, { path, record, device }] of records) {
    const file = path.text, isLayer = isRecordName(name);
    const thing = isLayer ? "device" : name === "base" ? "base-device" : name;
    const tell = (fault: string, what: string, mending: Mending) =>
      report({
        kind: `${thing}-${fault}`,
        layer: isLayer ? name : undefined,
        file,
        what,
        ...mending,
      });
    if (record.fault !== undefined) {
      const mending = record.fault === "owner"
        ? adoptRecord(path)
        : recordMending(view, name, pool.heirOf(name));
      tell(record.fault, record.what, mending);
    } else if (typeof device === "string") {
      tell("invalid", device, recordMending(view, name, pool.heirOf(name), record.text));
    } else if (device !== undefined) {
      const { deviceId, deleted } = device;
      const other = deleted ? undefined : owners.get(deviceId);
      if (!deleted) owners.set(deviceId, name);
      const what = `has device number ${deviceId}, as ${other} has`;
      const mending = isLayer ? remakeLayer(name) : { remedy: RESTORE };
      if (other !== undefined) tell("duplicate", what, mending);
      else pool.check(name, device, tell);
    }
  }
  for (const layer of lost.layers) {
    const path = view.join("metadata", layer), heir = pool.heirOf(layer);
    // Without it, the layers that name this one as their parent are reported.
    if (lost.of === "layers" && heir === undefined) continue;
    const [kind, user] = lost.of === "layers"
      ? ["device-missing", "layers stand on this one"]
      : ["snapshot-device-missing", "a snapshot has this device"];
    const mending = heir === undefined ? prepareAgain(layer) : writeRecord(path, heir);
    report({ kind, layer, file: path.text, what: `is missing, and ${user}`, ...mending });
    if (lost.of === "layers") ids.push(layer);
  }
  if (ids.length > 0 && !records.has("base")) {
    const path = view.join("metadata", "base"), heir = pool.heirOf("base");
    report({
      kind: "base-device-missing",
      file: path.text,
      what: "is missing, and layers are copies of the base device",
      ...heir === undefined
        ? { remedy: "restore it from a backup; existing layers stay usable" }
        : writeRecord(path, heir),
    });
  }
  return ids;
}

/** The records of the base, of all layers, and of the whole store, by their names. */
function readRecords(view: StoreView): Map<string, FoundRecord> {
  const records = new Map<string, FoundRecord>();
  for (const name of view.names(view.join("metadata"))) {
    const isDevice = isRecordName(name) || name === "base";
    if (!isDevice && name !== "deviceset-metadata" && name !== NOTE) continue;
    const path = view.join("metadata", name);
    const record = readRecord(path, { most: 1 << 16 });
    if (record.fault === "missing") continue;
    records.set(name, { path, record, device: parse(record, path.text, isDevice) });
  }
  return records;
}

/** The record of a device; words for its fault if it is invalid. */
function parse(
  { text }: RecordText,
  file: string,
  isDevice: boolean,
): DeviceRecord | string | undefined {
  if (text === undefined) return undefined;
  try {
    if (isDevice) return parseDeviceRecord(text, file);
    parseObject(text, file);
    return undefined;
  } catch (error) {
    return messageOf(error).replace(`${file} `, "").replace(/; .*/, "");
  }
}

const RESTORE = "restore it from a backup";

/**
 * Finds the mending of a record.
 *
 * @param heir a record of the only device that it can be of
 * @param text the record's text, if it can be read
 */
function recordMending(view: StoreView, name: string, heir?: string, text = ""): Mending {
  const path = view.join("metadata", name);
  switch (name) {
    case NOTE:
      // If there is no note, no change of the pool is unfinished.
      return removeEntry(path);
    case "deviceset-metadata":
      return writeRecord(path, JSON.stringify({ next_device_id: nextDeviceId(view) }));
  }
  const told = deviceRecordOf(text) ?? heir;
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
  for (const path of [data, metadata]) {
    const name = path === data ? "data-image" : "metadata-image", file = path.text;
    const dump = path === data ? "" : ", or have a repair make it again from a dump of thin_dump";
    const remedy = `restore it from a backup${dump}: without it every layer is lost`;
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
