/**
 * Checks for damage in the directories of snapshots' layers (`layer_directories.ts`).
 *
 * @module
 */
import { Stat } from "../../ffi/stat.ts";
import { isId } from "../../lib/base/ids.ts";
import type { Report } from "../../lib/care/finding.ts";
import { makeDirectory, prepareAgain, rebuildDatabase } from "../../lib/care/mending.ts";
import { checkPlaces } from "../../lib/care/own_records.ts";
import { typeWords } from "../../lib/care/record_file.ts";
import type { Orphan } from "../../lib/care/orphan.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRow, SnapshotRows } from "../../lib/care/structure.ts";
import { tryLstat } from "../../lib/tree/confined.ts";

const LAYERS = "snapshots";

/** The mount points in `mnt` whose layer does not exist, for homes with such a directory. */
export function* orphanMountPoints(
  view: StoreView,
  layers: Parents,
  staged: ReadonlySet<string>,
): Iterable<Orphan> {
  for (const id of view.names(view.join("mnt")).filter(isId)) {
    if (layers.has(id) || staged.has(id)) continue;
    const file = view.join("mnt", id).text;
    const what = `is the mount point of layer ${id}, which does not exist`;
    yield { kind: "mount-point", layer: id, file, what, deletion: "in place" };
  }
}

/** The directory of the files of a snapshot's layer. */
export const snapshotFiles = (view: StoreView, layer: string) => view.join(LAYERS, layer, "fs");

/** The paths of a snapshot's layer. */
export const snapshotPaths = (layer: string): string[] => [`${LAYERS}/${layer}`];

/** Reports missing and damaged layers of overlay2's snapshots. */
export function checkUnionSnapshots(
  view: StoreView,
  rows: SnapshotRows,
  report: Report,
): Iterable<string> {
  return checkLayerDirectories(view, rows, report, true);
}

/**
 * The same for any driver with these directories.
 *
 * @param hasWork whether each active snapshot's layer that has a parent must have a `work`
 * directory
 */
export function checkLayerDirectories(
  view: StoreView,
  { snapshots, intents }: SnapshotRows,
  report: Report,
  hasWork: boolean,
): Iterable<string> {
  const stat = new Stat();
  checkPlaces(view, { [LAYERS]: 0o700 }, report);
  for (const row of snapshots) {
    if (!isId(row.layer)) {
      report({
        kind: "snapshot-layer-invalid",
        layer: row.layer,
        file: view.join("metadata.db").text,
        what: `has ${JSON.stringify(row.layer)} as a snapshot's layer, which is not a layer id`,
        ...rebuildDatabase(),
      });
      continue;
    }
    // The mark is read first, because it is removed after the layer is made.
    const isIncomplete = view.isIncomplete(row.layer);
    if (isIncomplete && tryLstat(view.join(LAYERS, row.layer), stat) === undefined) continue;
    const hasFiles = checkPart(view, row, "fs", stat, report);
    const isWritten = row.kind === "active" && row.parent !== undefined;
    if (hasFiles && hasWork && isWritten) checkPart(view, row, "work", stat, report);
  }
  const staged = view.staged();
  const known = new Set(snapshots.map(({ layer }) => layer));
  const layers = view.names(view.join(LAYERS)).filter(isId);
  for (const layer of layers) {
    if (known.has(layer) || intents.has(layer) || staged.has(layer)) continue;
    reportUnknown(view.join(LAYERS, layer).text, layer, report);
  }
  return layers;
}

/**
 * Notes a layer on disk that belongs to no snapshot. A power failure may leave one, and the next
 * cleanup deletes it. A database that lost its records leaves such layers, too, so they are
 * reported before a cleanup deletes them.
 */
export function reportUnknown(file: string, layer: string, report: Report): void {
  report({
    kind: "snapshot-layer-unknown",
    layer,
    file,
    what: "is the layer of no snapshot",
    remedy:
      "a cleanup of the snapshots deletes it; if the database is an older copy, bring back the newer",
    isNote: true,
  });
}

function checkPart(
  view: StoreView,
  { layer }: SnapshotRow,
  part: "fs" | "work",
  stat: Stat,
  report: Report,
): boolean {
  const path = view.join(LAYERS, layer, part), file = path.text;
  const found = tryLstat(path, stat);
  if (found?.isDirectory) return true;
  const kind = found === undefined ? "missing" : "not-a-directory";
  const what = found === undefined ? "is missing" : `is ${typeWords(found)}, not a directory`;
  const mending = part === "work" ? makeDirectory(path, 0o700, layer) : prepareAgain(layer);
  report({ kind: `snapshot-${part}-${kind}`, layer, file, what, ...mending });
  return false;
}
