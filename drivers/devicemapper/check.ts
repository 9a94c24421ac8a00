/**
 * What can be damaged in a devicemapper home: the records of devices, and the pool's images. No
 * device is activated.
 *
 * @module
 */
import { O_NONBLOCK, O_RDONLY, pread, withFd } from "../../ffi/files.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { messageOf } from "../../lib/base/errors.ts";
import { PREPARE_AGAIN, remake, type Report } from "../../lib/care/finding.ts";
import { readRecord } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { tryLstat, tryOpen } from "../../lib/tree/confined.ts";
import { reportUnknown } from "../union/check.ts";
import { isRecordName } from "./names.ts";
import { parseDeviceRecord, parseObject } from "./records.ts";

/** `THIN_SUPERBLOCK_MAGIC` of the kernel's drivers/md/dm-thin-metadata.c, and its offset. */
const THIN_MAGIC = 27022010n, MAGIC_AT = 32;

/** Reports the damage of a home. */
export function checkLayers(view: StoreView, report: Report): Parents {
  const ids = checkRecords(view, report);
  checkImages(view, ids.length > 0, report);
  return new Map(ids.map((id) => [id, undefined]));
}

export { orphanMountPoints as orphansOfLayers } from "../union/check.ts";

/** Reports the layers of snapshots that are missing or damaged. */
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
    if (recorded.has(layer)) continue;
    report({
      kind: "snapshot-device-missing",
      layer,
      file: view.join("metadata", layer).text,
      what: "is missing, and a snapshot has this device",
      remedy: PREPARE_AGAIN,
    });
  }
  for (const id of ids) {
    if (known.has(id) || intents.has(id) || staged.has(id)) continue;
    reportUnknown(view.join("metadata", id).text, id, report);
  }
  return ids;
}

/** Checks every record of a device; returns the ids of the layers. */
function checkRecords(view: StoreView, report: Report): string[] {
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
    const remedy = isLayer ? remake(name) : "restore it from a backup";
    if (record.fault !== undefined) {
      report({ kind: `${thing}-${record.fault}`, layer, file, what: record.what, remedy });
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
      report({ kind: `${thing}-duplicate`, layer, file, what, remedy });
    } catch (error) {
      const what = messageOf(error).replace(`${file} `, "").replace(/; .*/, "");
      report({ kind: `${thing}-invalid`, layer, file, what, remedy });
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

/** Checks the pool's images, if it is on such and not on devices that were given. */
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
