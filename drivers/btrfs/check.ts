/**
 * Checks for damage in a btrfs home: layers that are not subvolumes, sizes that are not numbers.
 *
 * @module
 */
import { BTRFS_FIRST_FREE_OBJECTID } from "../../ffi/btrfs_subvolume.ts";
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
} from "../../lib/care/mending.ts";
import { checkPlaces } from "../../lib/care/own_records.ts";
import { quote, readRecord, typeWords } from "../../lib/care/record_file.ts";
import type { Orphan } from "../../lib/care/orphan.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { type ConfinedPath, tryLstat } from "../../lib/tree/confined.ts";
import { reportUnknown } from "../union/check.ts";
import { isHash, LAYER_DIRECTORIES, layerId } from "./snapshots_layout.ts";

/** The directory of a layer's files. */
export const contentOf = (view: StoreView, id: string, of = "layers") => ({
  path: of === "layers" ? view.join("subvolumes", id) : view.join(...id.split(".", 2)),
  isWhole: true,
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
    report({
      kind: `quota-${fault}`,
      layer: layers.includes(id) ? id : undefined,
      file: path.text,
      what: record.what ?? `holds ${quote(record.text!)}, not a number of bytes`,
      ...fault === "owner"
        ? adoptRecord(path)
        : removeEntry(path, "write the layer's limit in bytes into it, or remove it"),
    });
  }
  // No parents: those are Veneer's own records, which are checked elsewhere.
  return new Map(layers.map((id) => [id, undefined]));
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
  for (const { layer } of snapshots) {
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
    checkSubvolume(
      view.join(directory, hash),
      layer,
      "snapshot-layer",
      prepareAgain(layer),
      stat,
      report,
    );
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
): void {
  const found = tryLstat(path, stat);
  if (found?.isDirectory && found.inode === BTRFS_FIRST_FREE_OBJECTID) return;
  const [fault, what] = found === undefined
    ? ["missing", "is missing"]
    : found.isDirectory
    ? ["not-a-subvolume", "is a plain directory, not a subvolume"]
    : ["not-a-directory", `is ${typeWords(found)}, not a subvolume`];
  report({ kind: `${thing}-${fault}`, layer, file: path.text, what, ...mending });
}
