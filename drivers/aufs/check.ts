/**
 * Checks for damage in an aufs home: in the record of each layer's chain, its files and its mount
 * point.
 *
 * @module
 */
import { Stat } from "../../ffi/stat.ts";
import { isId } from "../../lib/base/ids.ts";
import { dockersParents } from "../../lib/care/docker_records.ts";
import type { Report } from "../../lib/care/finding.ts";
import {
  DOCKERS_RECORD,
  makeDirectory,
  type Mending,
  remakeLayer,
  writeRecord,
} from "../../lib/care/mending.ts";
import { checkPlaces } from "../../lib/care/own_records.ts";
import { quote, readRecord, typeWords } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { tryLstat } from "../../lib/tree/confined.ts";
import { checkLayerDirectories, snapshotFiles, snapshotPaths } from "../union/check.ts";
import { REMOVING } from "./layout.ts";

export { orphanMountPoints as orphansOfLayers } from "../union/check.ts";

/** Reports missing and damaged layers of snapshots. */
export function checkSnapshots(
  view: StoreView,
  rows: SnapshotRows,
  report: Report,
): Iterable<string> {
  return checkLayerDirectories(view, rows, report, false);
}

/** The directory of a layer's own files. */
export const contentOf = (view: StoreView, id: string, of = "layers") => ({
  path: of === "layers" ? view.join("diff", id) : snapshotFiles(view, id),
  isWhole: false,
});

/** The paths of a layer, of the graph or of snapshots. */
export const pathsOf = (_view: StoreView, id: string, of: "layers" | "snapshots"): string[] =>
  of === "snapshots"
    ? snapshotPaths(id)
    : ["layers", "diff", "mnt"].map((directory) => `${directory}/${id}`);

/** Reports damage in a home of layers; returns the layers with their parents. */
export function checkLayers(view: StoreView, report: Report): Parents {
  return new ChainsCheck(view, report).check();
}

class ChainsCheck {
  /** The chain below each layer, the parent first; `undefined` if its record is damaged. */
  readonly #chains = new Map<string, readonly string[] | undefined>();
  /**
   * Reports that come last, because all records must be read before it is known how to mend the
   * damage.
   */
  readonly #late: (() => void)[] = [];
  readonly #stat = new Stat();
  #dockers: ReadonlyMap<string, string> | undefined;

  constructor(readonly view: StoreView, readonly report: Report) {}

  check(): Parents {
    const { view } = this, staged = view.staged();
    const isLayer = (name: string) => isId(name) && !name.endsWith(REMOVING) && !staged.has(name);
    for (const id of view.names(view.join("layers")).filter(isLayer)) {
      this.#chains.set(id, this.#readChain(id));
    }
    const recorded = new Set(this.#chains.keys());
    for (const id of view.names(view.join("diff")).filter(isLayer)) {
      if (recorded.has(id)) continue;
      this.#chains.set(id, undefined);
      this.#tellRecord(id, "record-missing", "is missing, and the layer's files are there");
    }
    checkPlaces(
      view,
      { layers: 0o710, diff: 0o710, mnt: 0o710 },
      this.report,
      this.#chains.size > 0,
    );
    const parents = new Map<string, string | undefined>();
    for (const [id, chain] of this.#chains) {
      this.#checkDirectory(id, "diff");
      this.#checkDirectory(id, "mnt");
      if (chain !== undefined) this.#checkChain(id, chain);
      parents.set(id, chain && (chain[0] ?? ""));
    }
    for (const report of this.#late) report();
    return parents;
  }

  #tellRecord(id: string, kind: string, what: string, chain?: readonly string[]): void {
    const file = this.view.join("layers", id).text;
    this.#late.push(() =>
      this.report({ kind, layer: id, file, what, ...this.#recordMending(id, chain) })
    );
  }

  /**
   * Finds the mending of a record: the chain according to the record itself, to those of children,
   * or to Docker's.
   */
  #recordMending(id: string, told: readonly string[] = []): Mending {
    const chain = this.#bySelf(id, told) ?? this.#byChildren(id) ?? this.#byDocker(id);
    if (chain === undefined) return remakeLayer(id);
    const text = chain.map((line) => `${line}\n`).join("");
    return writeRecord(this.view.join("layers", id), text, DOCKERS_RECORD);
  }

  /** The chain of a child of a layer, if the layer's own chain agrees with its parent's. */
  #onParent(parent: string | undefined): string[] | undefined {
    const chain = parent === undefined ? undefined : this.#chains.get(parent);
    if (chain === undefined || chain.includes(parent!)) return undefined;
    const [above, ...rest] = chain;
    const isSound = above === undefined || this.#chains.get(above)?.join() === rest.join();
    return isSound ? [parent!, ...chain] : undefined;
  }

  /**
   * The chain according to the names that the record still contains: the parent is the layer of
   * which all others are ancestors. Only the last name may be incomplete.
   */
  #bySelf(id: string, told: readonly string[]): string[] | undefined {
    if (told.slice(0, -1).some((line) => !this.#chains.has(line))) return undefined;
    const named = told.filter((line) => this.#chains.has(line) && line !== id);
    const depth = (line: string) => this.#chains.get(line)?.length ?? 0;
    const [first, ...others] = named;
    const chain = this.#onParent(
      others.reduce((deepest, line) => depth(line) > depth(deepest) ? line : deepest, first),
    );
    return named.every((line) => chain?.includes(line)) && !chain?.includes(id) ? chain : undefined;
  }

  #byChildren(id: string): readonly string[] | undefined {
    for (const [child, chain] of this.#chains) {
      if (chain?.[0] !== id || child === id) continue;
      const rest = chain.slice(1);
      if (rest.includes(id) || rest.includes(child)) continue;
      if (rest.length === 0 || this.#onParent(rest[0])?.join() === rest.join()) return rest;
    }
    return undefined;
  }

  #byDocker(id: string): string[] | undefined {
    this.#dockers ??= dockersParents(this.view.root, "aufs");
    const chain = this.#onParent(this.#dockers.get(id));
    return chain?.includes(id) ? undefined : chain;
  }

  #readChain(id: string): string[] | undefined {
    const record = readRecord(this.view.join("layers", id), { mayBeEmpty: true });
    if (record.fault !== undefined) {
      this.#tellRecord(id, `record-${record.fault}`, record.what);
      return undefined;
    }
    const chain = record.text.split("\n").filter((line) => line !== "");
    const wrong = chain.find((line) => !isId(line));
    if (wrong === undefined) return chain;
    this.#tellRecord(id, "record-invalid", `holds ${quote(wrong)}, which is not a layer id`);
    return undefined;
  }

  #checkDirectory(id: string, directory: "diff" | "mnt"): void {
    const path = this.view.join(directory, id), stat = tryLstat(path, this.#stat);
    if (stat?.isDirectory) return;
    const mending = directory === "diff" ? remakeLayer(id) : makeDirectory(path, 0o700, id);
    const [fault, what] = stat === undefined
      ? ["missing", "is missing"]
      : ["not-a-directory", `is ${typeWords(stat)}, not a directory`];
    this.report({ kind: `${directory}-${fault}`, layer: id, file: path.text, what, ...mending });
  }

  /** Compares a chain with the parent's. */
  #checkChain(id: string, chain: readonly string[]): void {
    const tell = (kind: string, what: string) => this.#tellRecord(id, kind, what, chain);
    if (chain.includes(id)) return tell("record-cycle", `makes layer ${id} its own ancestor`);
    if (new Set(chain).size < chain.length) {
      const twice = chain.find((ancestor, i) => chain.indexOf(ancestor) < i);
      return tell("record-duplicate", `names layer ${twice} twice`);
    }
    const gone = chain.find((ancestor) => !this.#chains.has(ancestor));
    if (gone !== undefined) {
      return tell("record-dangling", `names layer ${gone}, which does not exist`);
    }
    if (chain.length === 0) return;
    const [parent, ...rest] = chain, below = this.#chains.get(parent);
    if (below === undefined || below.join() === rest.join()) return;
    if (below.length > 0) {
      return tell("record-wrong", `names other layers below ${parent} than layers/${parent}`);
    }
    // An empty record is that of a base layer, or one that lost its content.
    const what = `is empty, so ${parent} has no parent, but in layers/${id} that is ${rest[0]}`;
    this.#tellRecord(parent, "record-empty", what);
  }
}
