/**
 * Finds the orphans of a store. Work that the next command or a cleanup finishes by itself is not
 * an orphan: staged layers, interrupted deletions, layers that lost their snapshot.
 *
 * @module
 */
import { O_RDONLY, withFd } from "../../ffi/files.ts";
import { S_BLKSIZE, Stat } from "../../ffi/stat.ts";
import { CONTENT } from "../store/content_records.ts";
import { OWN_DIRECTORIES } from "../store/home.ts";
import { ConfinedPath, tryLstat, tryOpen } from "../tree/confined.ts";
import type { CheckedStore } from "./check.ts";
import { readDockerRecords } from "./docker_records.ts";
import type { Found } from "./finding.ts";
import type { MeasuredOrphan, Orphan } from "./orphan.ts";
import { withOwnParents } from "./own_records.ts";
import { QUARANTINE } from "./quarantine.ts";
import { readSnapshotRows } from "./snapshot_rows.ts";
import { homeOf, StoreView } from "./store_view.ts";
import type { Parents } from "./structure.ts";

/** Returns the bytes of disk space below an open directory. */
export type CountBytes = (directory: number) => number;

/**
 * The names that Docker gives to layers. Other layers in its stores may belong to other programs.
 */
const DOCKERS = /^[0-9a-f]{64}(-init)?$/;

/** Directories of Veneer's own records, of which each name is a layer's id. */
const OWN_RECORDS = [...OWN_DIRECTORIES.filter((name) => name !== "staging"), CONTENT];

/** Returns the orphans of a store; none if the store does not exist. */
export function findOrphans(store: CheckedStore, count: CountBytes): MeasuredOrphan[] {
  const { root, driver, of } = store;
  using view = StoreView.open(root, homeOf(store));
  if (view === undefined) return [];
  const found = of === "layers" ? orphansOfLayers(view, store) : orphansOfSnapshots(view, store);
  return deletable(view, found).map((orphan) => ({
    ...orphan,
    driver,
    of,
    ...measure(view, orphan.file, count),
  }));
}

/** What is in a directory that cannot be listed may need any of the orphans. */
function deletable(view: StoreView, orphans: readonly Orphan[]): readonly Orphan[] {
  const [unread] = view.unread;
  if (unread === undefined) return orphans;
  const remedy = `it stays, since ${unread.path} cannot be listed (${unread.reason})`;
  return orphans.map((orphan) =>
    orphan.deletion === "none" ? orphan : { ...orphan, deletion: "none", remedy }
  );
}

function orphansOfLayers(view: StoreView, { root, driver, checks }: CheckedStore): Orphan[] {
  const orphans: Orphan[] = [];
  const found: Found[] = [];
  const layers: Parents = checks?.checkLayers(view, (one) => found.push(one)) ?? new Map();
  const staged = view.staged();
  // If there is no layer at all, all of them may be elsewhere, such as on a disk that is missing.
  const records = layers.size > 0 ? { deletion: "in place" } as const : {
    deletion: "none",
    remedy: "bring the layers back if they are elsewhere, otherwise delete the store",
  } as const;
  for (const directory of OWN_RECORDS) {
    for (const id of view.names(view.own(directory))) {
      if (layers.has(id) || staged.has(id)) continue;
      orphans.push({
        kind: "own-record",
        layer: id,
        file: view.own(directory, id).text,
        what: `is a record of layer ${id}, which does not exist`,
        ...records,
      });
    }
  }
  for (const name of view.names(view.own())) {
    if (!/\.damaged-[0-9a-f-]{36}$/.test(name)) continue;
    orphans.push({
      kind: "moved-aside",
      file: view.own(name).text,
      what: "was moved aside, since it stood in the place of a directory",
      deletion: "in place",
    });
  }
  orphans.push(...quarantines(view));
  orphans.push(...checks?.orphansOfLayers?.(view, layers, staged, found) ?? []);
  orphans.push(...dockersOrphans(root, driver, view, withOwnParents(view, layers)));
  return orphans;
}

/** The quarantines of repairs. Only people can decide if their content is needed. */
const quarantines = (view: StoreView): Orphan[] =>
  view.names(view.own(QUARANTINE)).map((run) => ({
    kind: "quarantine",
    file: view.own(QUARANTINE, run).text,
    what: "is what a repair replaced",
    deletion: "none",
    remedy: "delete it when nothing in it is needed any more",
  }));

/** Docker's records without a layer, and layers without a record of Docker's. */
function dockersOrphans(
  root: string,
  driver: string,
  view: StoreView,
  layers: Parents,
): Orphan[] {
  let damaged = 0;
  const docker = readDockerRecords(root, driver, () => damaged++);
  // Without a record of any layer, this may be a root where Docker never ran.
  if (docker === undefined || docker.uses.length === 0) return [];
  const orphans: Orphan[] = [];
  const needed = new Set<string>();
  for (const { layer, file, container } of docker.uses) {
    if (!layers.has(layer)) {
      orphans.push({
        kind: "docker-record",
        layer,
        file,
        what: `names layer ${layer}, which does not exist`,
        deletion: "none",
        remedy: container === undefined
          ? "have Docker remove the images on it and pull them again"
          : `have Docker remove container ${container}`,
      });
    }
    for (let id: string | undefined = layer; id && !needed.has(id); id = layers.get(id)) {
      needed.add(id);
    }
  }
  // A damaged record may belong to any layer.
  if (damaged > 0) return orphans;
  // Docker makes no records of Veneer's: a layer that has one may be of a command of the user's.
  const recorded = new Set(OWN_RECORDS.flatMap((directory) => view.names(view.own(directory))));
  const strays = [...layers.keys()].filter((id) => DOCKERS.test(id) && !needed.has(id));
  // The ancestors of layers of other programs are needed as well.
  for (const id of layers.keys()) {
    if (DOCKERS.test(id) && !recorded.has(id)) continue;
    for (let at: string | undefined = id; at && !needed.has(at); at = layers.get(at)) {
      needed.add(at);
    }
  }
  const what = "is the layer of no image and no container of Docker's";
  for (const id of strays) {
    const orphan = { kind: "docker-layer", layer: id, file: view.join(id).text };
    if (!needed.has(id)) orphans.push({ ...orphan, what, deletion: "layer" });
    else if (recorded.has(id)) {
      orphans.push({
        ...orphan,
        what: `${what}, and Veneer has a record of it`,
        deletion: "none",
        remedy: "a command may have made it for you; remove it by its id if nobody needs it",
      });
    }
  }
  return orphans;
}

/** Snapshots whose layers are missing. A cleanup removes layers without a snapshot. */
function orphansOfSnapshots(view: StoreView, { checks }: CheckedStore): Orphan[] {
  const rows = readSnapshotRows(view, () => false, () => {});
  if (rows === undefined || checks === undefined) return [];
  const found: Found[] = [];
  checks.checkSnapshots(view, rows, (one) => found.push(one));
  const names = new Map(rows.snapshots.map(({ layer, name }) => [layer, name]));
  const lost: Orphan[] = found.filter(({ kind }) =>
    /^snapshot-(fs|layer|device)-missing$/.test(kind)
  )
    .map(({ layer, file }) => ({
      kind: "snapshot",
      layer: names.get(layer!) ?? layer,
      file,
      what: `is missing, and snapshot ${JSON.stringify(names.get(layer!))} has this layer`,
      deletion: "none",
      remedy: "remove the snapshot and those on it",
    }));
  return [...lost, ...quarantines(view)];
}

function measure(view: StoreView, file: string, count: CountBytes) {
  const stat = new Stat();
  const below = file.startsWith(`${view.path}/`) ? file.slice(view.path.length + 1) : undefined;
  if (below === undefined) return { bytes: 0, age: 0 };
  const path = new ConfinedPath(view.home, below);
  if (tryLstat(path, stat) === undefined) return { bytes: 0, age: 0 };
  const age = Math.max(0, Math.floor(Date.now() / 1000) - stat.changeSeconds);
  const own = stat.blocks * S_BLKSIZE;
  if (!stat.isDirectory) return { bytes: own, age };
  const fd = tryOpen(path, O_RDONLY);
  return { bytes: own + (fd < 0 ? 0 : withFd(fd, count)), age };
}
