/**
 * Checks a store that may be in use, in several passes. Only damage that all of them see is
 * reported.
 *
 * No lock is taken, so a pass can meet a layer that is being made or removed. Therefore another
 * pass looks for the same findings after a pause: by then healthy work has ended, or shows another
 * state. Docker's daemon removes layers file by file in place. So while it runs on the store,
 * recent changes get more time.
 *
 * @module
 */
import { Stat, tryLstat } from "../../ffi/stat.ts";
import { sleep } from "../base/sleep.ts";
import { dockerOn } from "../store/dockerd.ts";
import { dirname } from "@std/path";
import { Affected } from "./affected.ts";
import { checkContents, type ComparedLayers } from "./content.ts";
import { type DockerRecords, dockersMending, readDockerRecords } from "./docker_records.ts";
import { type Finding, type Found, identityOf, type Report } from "./finding.ts";
import { checkOwnRecords, checkPlaces, withOwnParents } from "./own_records.ts";
import { readSnapshotRows } from "./snapshot_rows.ts";
import { homeOf, StoreView } from "./store_view.ts";
import type { DriverChecks, Parents, SnapshotRows } from "./structure.ts";

/** A store to check. */
export interface CheckedStore {
  /** The directory of all stores. */
  readonly root: string;
  readonly driver: string;
  readonly of: "layers" | "snapshots";
  /** Missing for drivers without checks: then only Veneer's own records are checked. */
  readonly checks?: DriverChecks;
  /** The driver's own options, `-o`, such as the names of devices. */
  readonly options?: ReadonlyMap<string, string>;
  /** Compare the content of layers with the records of their applies. */
  readonly deep?: boolean;
}

/** The result of a check. */
export interface Checked {
  readonly driver: string;
  readonly of: "layers" | "snapshots";
  readonly home: string;
  /** The number of layers or snapshots. */
  readonly count: number;
  /** Ids of layers; keys and names of snapshots. */
  readonly names: ReadonlySet<string>;
  readonly findings: readonly Finding[];
  /** The rows of the database, if it is a store of snapshots. */
  readonly rows: SnapshotRows | undefined;
  /** Layers on disk or in the database, and their parents. */
  readonly parents: Parents;
  /** For a snapshot's layer the key or name of the snapshot; otherwise the layer's id. */
  shown(layer: string): string;
  /** After a deep check: the number of them that have no record of content. */
  readonly untold: number | undefined;
}

/** The number of passes that must see damage, and the pause between two in milliseconds. */
const LOOKS = 3, PAUSE = 100;

/**
 * The longest wait for recent changes beside Docker's daemon, and the age of recent ones, in ms.
 */
const PATIENCE = 10_000, MOMENT = 30_000;

/** The result of one pass. */
interface Look {
  readonly found: readonly Found[];
  readonly parents: Parents;
  readonly docker: DockerRecords | undefined;
  readonly rows: SnapshotRows | undefined;
  /** The number of layers whose content was compared. */
  readonly compared: number;
}

/**
 * Checks a store's records and structure; `undefined` if there is none.
 *
 * @param pause between two passes, in milliseconds
 */
export function checkStore(store: CheckedStore, pause = PAUSE): Checked | undefined {
  const { root, driver, of, options } = store;
  using view = StoreView.open(root, homeOf(store), options);
  if (view === undefined) return undefined;
  let look = lookAt(view, store), seen = look.found;
  const end = performance.now() + PATIENCE;
  let isDockers: boolean | undefined;
  for (let looks = 1; seen.length > 0; looks++) {
    if (looks >= LOOKS) {
      isDockers ??= dockerOn({ root, home: view.path, isRecorded: () => true }) !== undefined;
      if (!isDockers || performance.now() > end || !seen.some(isYoung)) break;
    }
    sleep(pause);
    look = lookAt(view, store);
    const before = new Set(seen.map(identityOf));
    seen = look.found.filter((found) => before.has(identityOf(found)));
  }
  const { parents, docker, rows, compared } = look;
  const names = new Map(rows?.snapshots.map(({ layer, name }) => [layer, name]));
  const shown = (layer: string) => names.get(layer) ?? layer;
  const affected = new Affected(parents, docker, shown);
  return {
    driver,
    of,
    home: view.path,
    rows,
    parents,
    shown,
    count: of === "layers" ? parents.size : names.size,
    names: new Set(of === "layers" ? parents.keys() : names.values()),
    untold: store.deep ? (of === "layers" ? parents.size : names.size) - compared : undefined,
    findings: seen.toSorted(byFile).map((found) => ({
      ...found,
      driver,
      of,
      breaks: affected.by(found.layer),
    })),
  };
}

function lookAt(view: StoreView, store: CheckedStore): Look {
  const { root, driver, of, checks, deep } = store;
  const found: Found[] = [];
  const report: Report = (one) => found.push(one);
  if (of === "snapshots") return { ...lookAtSnapshots(view, checks, deep ?? false, report), found };
  const structure: Parents = checks?.checkLayers(view, report) ?? new Map();
  const parents = withOwnParents(view, structure);
  checkOwnRecords(view, parents, report);
  const docker = readDockerRecords(root, driver, report);
  for (const { layer, file, container, chain } of docker?.uses ?? []) {
    if (parents.has(layer)) continue;
    found.push({
      kind: container === undefined ? "image-layer-missing" : "container-layer-missing",
      layer,
      file,
      what: `names layer ${layer}, which does not exist`,
      ...dockersMending({ container, chain }),
    });
  }
  const layers = { of, ids: parents.keys() };
  const compared = deep ? checkContents(view, layers, checks, report) : 0;
  return { found, parents, docker, rows: undefined, compared };
}

function lookAtSnapshots(
  view: StoreView,
  checks: DriverChecks | undefined,
  deep: boolean,
  report: Report,
): Omit<Look, "found"> {
  const none: SnapshotRows = { snapshots: [], intents: new Set() };
  const silent = () => {};
  const hasLayers = () => [...checks?.checkSnapshots(view, none, silent) ?? []].length > 0;
  // The database is read before the layers: a new layer has a row of intents before it is on disk.
  const rows = readSnapshotRows(view, hasLayers, report);
  if (rows !== undefined) checks?.checkSnapshots(view, rows, report);
  // The mount points of `MountedSnapshots`.
  checkPlaces(view, { mounts: 0o711 }, report);
  checkOwnRecords(view, new Map(), report);
  const parents = new Map(rows?.snapshots.map(({ layer, parent }) => [layer, parent ?? ""]));
  const compared = deep ? checkContents(view, committedLayers(rows), checks, report) : 0;
  return { parents, docker: undefined, rows, compared };
}

/** The layers of committed snapshots, which never change. */
export function committedLayers(rows: SnapshotRows | undefined): Required<ComparedLayers> {
  const committed = (rows?.snapshots ?? []).filter(({ kind }) => kind === "committed");
  const created = new Map(committed.map(({ layer, created }) => [layer, created]));
  return { of: "snapshots", ids: created.keys(), createdAt: (id) => created.get(id) ?? 0 };
}

/** The order of findings, which does not hang on that of a directory. */
function byFile(one: Found, other: Found): number {
  if (one.file !== other.file) return one.file < other.file ? -1 : 1;
  const [a, b] = [one, other].map(identityOf);
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether a file, or the nearest directory above if it is missing, changed recently. */
function isYoung({ file }: Found): boolean {
  const stat = new Stat();
  for (let path = file; path.length > 1; path = dirname(path)) {
    if (tryLstat(path, stat) === undefined) continue;
    return Date.now() - stat.changeSeconds * 1000 < MOMENT;
  }
  return false;
}
