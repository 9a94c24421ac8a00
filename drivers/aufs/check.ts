/**
 * What can be damaged in an aufs home: the record of each layer's chain, its files, its mount point.
 *
 * @module
 */
import { Stat } from "../../ffi/stat.ts";
import { isId } from "../../lib/base/ids.ts";
import { remake, type Report } from "../../lib/care/finding.ts";
import { quote, readRecord, typeWords } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents, SnapshotRows } from "../../lib/care/structure.ts";
import { tryLstat } from "../../lib/tree/confined.ts";
import { checkLayerDirectories } from "../union/check.ts";
import { REMOVING } from "./layout.ts";

export { orphanMountPoints as orphansOfLayers } from "../union/check.ts";

/** Reports the layers of snapshots that are missing or damaged. */
export function checkSnapshots(
  view: StoreView,
  rows: SnapshotRows,
  report: Report,
): Iterable<string> {
  return checkLayerDirectories(view, rows, report, false);
}

/** Where a layer's own files are. */
export const contentOf = (view: StoreView, id: string) => ({
  path: view.join("diff", id),
  isWhole: false,
});

/** Reports the damage of a home. */
export function checkLayers(view: StoreView, report: Report): Parents {
  return new ChainsCheck(view, report).check();
}

class ChainsCheck {
  /** The chain below each layer, the parent first; `undefined` if its record is damaged. */
  readonly #chains = new Map<string, readonly string[] | undefined>();
  readonly #stat = new Stat();

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
      this.#tell(id, "layers", "record-missing", "is missing, and the layer's files are there");
    }
    const parents = new Map<string, string | undefined>();
    for (const [id, chain] of this.#chains) {
      this.#checkDirectory(id, "diff");
      this.#checkDirectory(id, "mnt");
      if (chain !== undefined) this.#checkChain(id, chain);
      parents.set(id, chain && (chain[0] ?? ""));
    }
    return parents;
  }

  #tell(id: string, directory: string, kind: string, what: string, remedy = remake(id)): void {
    this.report({ kind, layer: id, file: this.view.join(directory, id).text, what, remedy });
  }

  #readChain(id: string): string[] | undefined {
    const record = readRecord(this.view.join("layers", id), { mayBeEmpty: true });
    if (record.fault !== undefined) {
      this.#tell(id, "layers", `record-${record.fault}`, record.what);
      return undefined;
    }
    const chain = record.text.split("\n").filter((line) => line !== "");
    const wrong = chain.find((line) => !isId(line));
    if (wrong === undefined) return chain;
    this.#tell(id, "layers", "record-invalid", `holds ${quote(wrong)}, which is not a layer id`);
    return undefined;
  }

  #checkDirectory(id: string, directory: "diff" | "mnt"): void {
    const stat = tryLstat(this.view.join(directory, id), this.#stat);
    if (stat?.isDirectory) return;
    const remedy = directory === "diff" ? undefined : "make the directory";
    if (stat === undefined) {
      return this.#tell(id, directory, `${directory}-missing`, "is missing", remedy);
    }
    const what = `is ${typeWords(stat)}, not a directory`;
    this.#tell(id, directory, `${directory}-not-a-directory`, what, remedy);
  }

  /** Compares a chain with the parent's. */
  #checkChain(id: string, chain: readonly string[]): void {
    if (chain.includes(id)) {
      return this.#tell(id, "layers", "record-cycle", `makes layer ${id} its own ancestor`);
    }
    if (new Set(chain).size < chain.length) {
      const twice = chain.find((ancestor, i) => chain.indexOf(ancestor) < i);
      return this.#tell(id, "layers", "record-duplicate", `names layer ${twice} twice`);
    }
    const gone = chain.find((ancestor) => !this.#chains.has(ancestor));
    if (gone !== undefined) {
      const what = `names layer ${gone}, which does not exist`;
      return this.#tell(id, "layers", "record-dangling", what);
    }
    if (chain.length === 0) return;
    const [parent, ...rest] = chain, below = this.#chains.get(parent);
    if (below === undefined || below.join() === rest.join()) return;
    // A record that lost its content looks like a base layer's.
    const isParents = below.length === 0;
    const said = `layer ${id} says that ${rest[0] ?? "none"} lies below ${parent}`;
    this.#tell(
      isParents ? parent : id,
      "layers",
      isParents ? "record-empty" : "record-wrong",
      isParents
        ? `is empty, as a base layer's, and ${said}`
        : `names other layers below ${parent} than layers/${parent}`,
      isParents ? `write ${rest.join(", ")} into it, one a line` : remake(id),
    );
  }
}
