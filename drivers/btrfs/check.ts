/**
 * Checks for damage in a btrfs home: layers that are not subvolumes, sizes that are not numbers.
 *
 * @module
 */
import { qgroupUsage, quotaStatus } from "../../ffi/btrfs_quota.ts";
import { BTRFS_FIRST_FREE_OBJECTID, isReadOnly, subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, withFd } from "../../ffi/files.ts";
import { Stat } from "../../ffi/stat.ts";
import { isId } from "../../lib/base/ids.ts";
import type { Report } from "../../lib/care/finding.ts";
import {
  adoptRecord,
  type Mending,
  prepareAgain,
  rebuildDatabase,
  remakeLayer,
  removeEntry,
  sealSubvolume,
  writeRecord,
} from "../../lib/care/mending.ts";
import { checkPlaces } from "../../lib/care/own_records.ts";
import { quote, readRecord, typeWords } from "../../lib/care/record_file.ts";
import type { Orphan } from "../../lib/care/orphan.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { type ConfinedPath, tryLstat, tryOpen } from "../../lib/tree/confined.ts";
import { reportUnknown } from "../union/check.ts";
import { isHash, LAYER_DIRECTORIES, layerId } from "./snapshots_layout.ts";

/** The directory of a layer's files. */
export const contentOf = (view: StoreView, id: string, of = "layers") => ({
  path: of === "layers" ? view.join("subvolumes", id) : view.join(...id.split(".", 2)),
  isWhole: true,
  isSealed: of === "snapshots" && id.startsWith("snapshots."),
});

/** The paths of a layer, of the graph or of snapshots. */
export function pathsOf(_view: StoreView, id: string, of: "layers" | "snapshots"): string[] {
  return of === "layers" ? [`subvolumes/${id}`, `quotas/${id}`] : [id.replace(".", "/")];
}

/** Whether the driver takes a text for a size. */
const isSize = (text: string) => /^\d+$/.test(text) && Number.isSafeInteger(Number(text));

/** Reports damage in a home of layers; returns the layers. */
export function checkLayers(view: StoreView, report: Report): Parents {
  const stat = new Stat();
  checkPlaces(view, { subvolumes: 0o710, quotas: 0o700 }, report);
  const layers = view.names(view.join("subvolumes")).filter(isId);
  for (const id of layers) {
    checkSubvolume(view.join("subvolumes", id), id, "layer", remakeLayer(id), stat, report);
  }
  for (const id of view.names(view.join("quotas"))) {
    const path = view.join("quotas", id), record = readRecord(path, { most: 64 });
    if (record.fault === "missing") continue;
    const fault = record.fault ?? (isSize(record.text) ? undefined : "invalid");
    if (fault === undefined) continue;
    const limit = layers.includes(id) ? limitOf(view.join("subvolumes", id)) : undefined;
    report({
      kind: `quota-${fault}`,
      layer: layers.includes(id) ? id : undefined,
      file: path.text,
      what: record.what ?? `holds ${quote(record.text!)}, not a number of bytes`,
      ...fault === "owner"
        ? adoptRecord(path)
        : limit !== undefined
        ? writeRecord(path, `${limit}`)
        : removeEntry(path, "write the layer's limit in bytes into it, or remove it"),
    });
  }
  // No parents: those are Veneer's own records, which are checked elsewhere.
  return new Map(layers.map((id) => [id, undefined]));
}

/**
 * The limit that the kernel still has for a layer, in bytes; `undefined` if it has none, or quotas
 * are off.
 */
function limitOf(path: ConfinedPath): number | undefined {
  const fd = tryOpen(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return undefined;
  return withFd(fd, () => {
    try {
      if (quotaStatus(fd).mode === "off") return undefined;
      const limit = qgroupUsage(fd, subvolumeInfo(fd).id)?.maxReferenced;
      return limit !== undefined && isSize(`${limit}`) ? limit : undefined;
    } catch (error) {
      // It is not a subvolume, which is reported as well.
      if (error instanceof SyscallError) return undefined;
      throw error;
    }
  });
}

/** The recorded sizes whose layer does not exist. */
export function* orphansOfLayers(
  view: StoreView,
  layers: Parents,
  staged: ReadonlySet<string>,
): Iterable<Orphan> {
  for (const id of view.names(view.join("quotas"))) {
    if (layers.has(id) || staged.has(id)) continue;
    const file = view.join("quotas", id).text;
    const what = `is the size of layer ${id}, which does not exist`;
    yield { kind: "quota", layer: id, file, what, deletion: "in place" };
  }
}

/** Reports missing and damaged layers of snapshots; returns the layers on disk. */
export function checkSnapshots(
  view: StoreView,
  { snapshots, intents }: SnapshotRows,
  report: Report,
): Iterable<string> {
  const stat = new Stat(), known = new Set<string>();
  checkPlaces(view, { active: 0o700, snapshots: 0o700 }, report);
  for (const { layer, kind } of snapshots) {
    known.add(layer);
    const [directory, hash] = layer.split(/\.(.*)/s);
    if (!isHash(hash ?? "") || !LAYER_DIRECTORIES.some((name) => name === directory)) {
      report({
        kind: "snapshot-layer-invalid",
        layer,
        file: view.join("metadata.db").text,
        what: `has ${quote(layer)} as a snapshot's layer, which is not one of btrfs`,
        ...rebuildDatabase(),
      });
      continue;
    }
    if (view.isIncomplete(layer) && tryLstat(view.join(directory, hash), stat) === undefined) {
      continue;
    }
    const path = view.join(directory, hash), mending = prepareAgain(layer);
    const isSound = checkSubvolume(path, layer, "snapshot-layer", mending, stat, report);
    if (isSound && kind === "committed") checkSealed(path, layer, report);
  }
  const staged = view.staged(), layers: string[] = [];
  for (const directory of LAYER_DIRECTORIES) {
    for (const hash of view.names(view.join(directory)).filter(isHash)) {
      const layer = layerId(directory, hash);
      layers.push(layer);
      if (known.has(layer) || intents.has(layer) || staged.has(layer)) continue;
      reportUnknown(view.join(directory, hash).text, layer, report);
    }
  }
  return layers;
}

function checkSubvolume(
  path: ConfinedPath,
  layer: string,
  thing: string,
  mending: Mending,
  stat: Stat,
  report: Report,
): boolean {
  const found = tryLstat(path, stat);
  if (found?.isDirectory && found.inode === BTRFS_FIRST_FREE_OBJECTID) return true;
  const [fault, what] = found === undefined
    ? ["missing", "is missing"]
    : found.isDirectory
    ? ["not-a-subvolume", "is a plain directory, not a subvolume"]
    : ["not-a-directory", `is ${typeWords(found)}, not a subvolume`];
  report({ kind: `${thing}-${fault}`, layer, file: path.text, what, ...mending });
  return false;
}

/** Reports a committed layer that is writable: a killed repair of its files leaves it so. */
function checkSealed(path: ConfinedPath, layer: string, report: Report): void {
  const fd = tryOpen(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0 || withFd(fd, isReadOnly)) return;
  report({
    kind: "snapshot-layer-writable",
    layer,
    file: path.text,
    what: "is writable, and is that of a committed snapshot",
    ...sealSubvolume(path),
  });
}
