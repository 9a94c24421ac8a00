/**
 * Checks for damage in an overlay2 home: in each layer's directory and records, in the links in
 * `l/`, and whether all of them agree.
 *
 * A child's `lower` is its parent's link followed by its parent's `lower`. So if the parent is
 * sound, one comparison of texts is enough. Only a `lower` that differs is parsed.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { DT_DIR, DT_REG, DT_UNKNOWN, type Entry, readEntries } from "../../ffi/directory.ts";
import { type EntryName, entryName, nameText } from "../../ffi/entry_name.ts";
import { EINVAL } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, tryOpenat, withFd } from "../../ffi/files.ts";
import { tryReadlinkat } from "../../ffi/names.ts";
import { Stat, tryFstat, tryStatat } from "../../ffi/stat.ts";
import { isId } from "../../lib/base/ids.ts";
import type { Found, Report } from "../../lib/care/finding.ts";
import {
  closeToOthers,
  makeDirectory,
  makeLink,
  remakeLayer,
  removeEntry,
  type Step,
} from "../../lib/care/mending.ts";
import type { Orphan } from "../../lib/care/orphan.ts";
import { quote, readRecord, readRecordAt, typeWords } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { Parents } from "../../lib/care/structure.ts";
import {
  type ConfinedPath,
  openDirectory,
  tryLstat,
  tryReadlink,
} from "../../lib/tree/confined.ts";
import { isEntry, isLinkName, LINKS, linkTarget } from "./layout.ts";
import { type Layer, LayoutMending, namesIn } from "./mending.ts";

import { snapshotFiles, snapshotPaths } from "../union/check.ts";

export { checkUnionSnapshots as checkSnapshots } from "../union/check.ts";

const LINK = entryName("link"), LOWER = entryName("lower");

/** The entries that identify a directory as a layer's. */
const PARTS = ["link", "diff", "lower", "work"];

/**
 * The names of directories that Docker makes for a moment to test the kernel (moby,
 * daemon/graphdriver/overlay2/check.go and overlayutils): a word and a number.
 */
const TRIAL = /^(check-overlayfs-support|metacopy-check|opaque-bug-check)\d+$/;

/** Whether a directory was made for such a test. A layer may have a name of this kind, too. */
const isTrial = (view: StoreView, name: string) =>
  TRIAL.test(name) &&
  ["link", "diff"].every((part) => tryLstat(view.join(name, part)) === undefined);

/** The longest time of such a test, in seconds. */
const LONGEST_TRIAL = 3600;

/** The directory of a layer's own files. */
export const contentOf = (view: StoreView, id: string, of = "layers") => ({
  path: of === "layers" ? view.join(id, "diff") : snapshotFiles(view, id),
  isWhole: false,
});

/** The paths of a layer: its directory, and the links to it. */
export function* pathsOf(
  view: StoreView,
  id: string,
  of: "layers" | "snapshots",
): Iterable<string> {
  if (of === "snapshots") return yield* snapshotPaths(id);
  yield id;
  const isLink = (name: string) => tryReadlink(view.join(LINKS, name)) === linkTarget(id);
  const { text: own = "" } = readRecord(view.join(id, "link"), { most: 256 });
  // If the record is damaged, any link may be the layer's.
  const names = isLinkName(own) && isLink(own) ? [own] : view.names(view.join(LINKS));
  for (const name of names) if (isLink(name)) yield `${LINKS}/${name}`;
}

/** The steps that remove the mark of having children from a layer that has none any more. */
export const stepsWithoutChildren = (view: StoreView, id: string): Step[] =>
  tryLstat(view.join(id, "committed")) === undefined
    ? []
    : [{ do: "aside", path: `${id}/committed` }];

/** Reports damage in a home of layers; returns the layers with their parents. */
export function checkLayers(view: StoreView, report: Report): Parents {
  return new LayoutCheck(view, report).check();
}

/** The links that belong to no layer, and directories that Docker left after a test. */
export function* orphansOfLayers(
  view: StoreView,
  _layers: Parents,
  _staged: ReadonlySet<string>,
  found: readonly Found[],
): Iterable<Orphan> {
  for (const { kind, file, what } of found) {
    if (kind !== "short-link-dangling" && kind !== "short-link-duplicate") continue;
    yield { kind: "short-link", file, what, deletion: "in place" };
  }
  const stat = new Stat();
  for (const name of view.names(view.join())) {
    const path = view.join(name);
    if (!isTrial(view, name) || !tryLstat(path, stat)?.isDirectory) continue;
    if (Date.now() / 1000 - stat.changeSeconds < LONGEST_TRIAL) continue;
    yield {
      kind: "trial-directory",
      file: path.text,
      what: "was made by Docker to test the kernel",
      deletion: "in place",
    };
  }
}

class LayoutCheck {
  readonly #layers = new Map<string, Layer>();
  /** Layers by their short names. */
  readonly #byLink = new Map<string, Layer>();
  /** The targets of the entries in `l/`; a negative error number for entries that are not links. */
  readonly #links = new Map<string, string | number>();
  /** The names of links by their targets; `undefined` until they are needed. */
  #names: Map<string, string[]> | undefined;
  /** The parents of the layers whose `lower` is sound. */
  readonly #sound = new Map<string, string>();
  /**
   * Reports that come last, because all layers must be read before it is known how to mend the
   * damage.
   */
  readonly #late: (() => void)[] = [];
  readonly #mending: LayoutMending;
  readonly #stat = new Stat();

  constructor(readonly view: StoreView, readonly report: Report) {
    this.#mending = new LayoutMending({
      view,
      layers: this.#layers,
      sound: this.#sound,
      layerOf: (name) => this.#layerOf(name),
      namesOf: (id) => this.#namesOf(id),
    });
  }

  check(): Parents {
    const { view } = this;
    this.#readLinks();
    const staged = view.staged();
    withFd(openDirectory(view.join()), (home) => {
      for (const { name, type } of readEntries(home)) {
        const id = nameText(name);
        if (id !== LINKS && isId(id) && !isTrial(view, id)) this.#readLayer(home, id, name, type);
      }
    });
    for (const layer of this.#layers.values()) this.#checkLink(layer);
    this.#checkLinks(staged);
    const parents = new Map<string, string | undefined>();
    for (const layer of this.#layers.values()) parents.set(layer.id, this.#checkLower(layer));
    for (const report of this.#late) report();
    return parents;
  }

  #readLinks(): void {
    const { view, report } = this, path = view.join(LINKS);
    let fd: number;
    try {
      fd = openDirectory(path);
    } catch {
      return report({
        kind: "short-links-missing",
        file: path.text,
        what: "is missing or not a directory, and every layer with a parent needs a link in it",
        ...makeDirectory(path, 0o710),
      });
    }
    withFd(fd, () => {
      this.#checkOwner(fd, path, "short-links-owner", undefined);
      for (const { name } of readEntries(fd)) {
        const target = tryReadlinkat(fd, name);
        this.#links.set(nameText(name), typeof target === "number" ? target : decode(target));
      }
    });
  }

  /** Reads an entry of the home that may be a layer. */
  #readLayer(home: number, id: string, name: EntryName, type: number): void {
    const { view, report } = this, path = view.join(id);
    const fd = type === DT_DIR || type === DT_UNKNOWN
      ? tryOpenat(home, name, O_RDONLY | O_DIRECTORY)
      : -1;
    if (fd < 0) {
      // Other programs may keep their own files here.
      if (this.#namesOf(id).length === 0 || tryStatat(home, name, this.#stat) < 0) return;
      this.#layers.set(id, { id, link: undefined, lower: undefined });
      return report({
        kind: "layer-not-a-directory",
        layer: id,
        file: path.text,
        what: `is ${typeWords(this.#stat)}, not the directory of a layer`,
        ...remakeLayer(id),
      });
    }
    withFd(fd, () => {
      const parts = new Map(readEntries(fd).map((entry) => [nameText(entry.name), entry]));
      if (!PARTS.some((part) => parts.has(part))) return this.#reportEmpty(id, parts.size);
      this.#checkOwner(fd, path, "layer-owner", id);
      const link = this.#readLink(fd, id);
      // A base layer has neither.
      const hasLower = parts.has("lower") || parts.has("work");
      const lower = hasLower ? this.#readLower(fd, id) : "";
      const layer = { id, link, lower };
      this.#layers.set(id, layer);
      if (link !== undefined && !this.#byLink.has(link)) this.#byLink.set(link, layer);
      this.#checkDirectory(fd, layer, parts, "diff", true);
      this.#checkDirectory(fd, layer, parts, "work", lower !== "");
      this.#checkDirectory(fd, layer, parts, "merged", false);
      this.#checkMark(fd, id, parts.get("committed"));
    });
  }

  /** The names of the links in `l/` that lead to a layer's directory. */
  #namesOf(id: string): readonly string[] {
    if (this.#names === undefined) {
      this.#names = new Map();
      for (const [name, target] of this.#links) {
        // Other files, such as an editor's copy, are not the name of a layer.
        if (typeof target !== "string" || !isLinkName(name)) continue;
        this.#names.set(target, [...this.#names.get(target) ?? [], name]);
      }
    }
    return this.#names.get(linkTarget(id)) ?? [];
  }

  #reportEmpty(id: string, entries: number): void {
    if (entries > 0 && this.#namesOf(id).length === 0) return;
    this.#layers.set(id, { id, link: undefined, lower: undefined });
    this.report({
      kind: "layer-emptied",
      layer: id,
      file: this.view.join(id).text,
      what: "has none of a layer's files",
      ...remakeLayer(id),
    });
  }

  #checkOwner(fd: number, path: ConfinedPath, kind: string, layer: string | undefined): void {
    if (tryFstat(fd, this.#stat) < 0 || (this.#stat.mode & 0o022) === 0) return;
    const mode = (this.#stat.mode & 0o7777).toString(8).padStart(4, "0");
    this.report({
      kind,
      layer,
      file: path.text,
      what: `has mode ${mode}, so others can change its content`,
      ...closeToOthers(path),
    });
  }

  #readLink(fd: number, id: string): string | undefined {
    const record = readRecordAt(fd, LINK, { most: 256 });
    const problem = record.fault !== undefined
      ? { kind: `link-${record.fault}`, what: record.what }
      : isLinkName(record.text)
      ? undefined
      : { kind: "link-invalid", what: `holds ${quote(record.text)}, not the name of a link` };
    if (problem === undefined) return record.text;
    const file = this.view.join(id, "link").text;
    this.#late.push(() => this.report({ ...problem, layer: id, file, ...this.#mending.name(id) }));
    return undefined;
  }

  #readLower(fd: number, id: string): string | undefined {
    const record = readRecordAt(fd, LOWER);
    const wrong = record.text?.split(":").find((entry) => !isEntry(entry));
    const problem = record.fault !== undefined
      ? { kind: `lower-${record.fault}`, what: record.what }
      : wrong !== undefined
      ? { kind: "lower-invalid", what: `holds ${quote(wrong)} instead of l/<name>` }
      : undefined;
    if (problem === undefined) return record.text;
    const file = this.view.join(id, "lower").text;
    this.#late.push(() => this.report({ ...problem, layer: id, file, ...this.#mending.lower(id) }));
    return undefined;
  }

  #checkDirectory(
    fd: number,
    { id, lower }: Layer,
    parts: ReadonlyMap<string, Entry>,
    name: "diff" | "work" | "merged",
    isNeeded: boolean,
  ): void {
    const path = this.view.join(id, name), file = path.text;
    const entry = parts.get(name);
    const mending = name === "diff" ? remakeLayer(id) : makeDirectory(path, 0o700, id);
    if (entry === undefined) {
      // If `lower` cannot be read, it is unknown whether this is a base layer.
      if (!isNeeded || name === "work" && lower === undefined) return;
      this.report({ kind: `${name}-missing`, layer: id, file, what: "is missing", ...mending });
      return;
    }
    if (entry.type === DT_DIR) return;
    if (tryStatat(fd, entry.name, this.#stat) < 0 || this.#stat.isDirectory) return;
    const what = `is ${typeWords(this.#stat)}, not a directory`;
    this.report({ kind: `${name}-not-a-directory`, layer: id, file, what, ...mending });
  }

  #checkMark(fd: number, id: string, entry: Entry | undefined): void {
    if (entry === undefined || entry.type === DT_REG) return;
    if (tryStatat(fd, entry.name, this.#stat) < 0 || this.#stat.isFile) return;
    const file = this.view.join(id, "committed").text;
    const what = `is ${typeWords(this.#stat)}, and the mark that a layer has children is a file`;
    this.#late.push(() =>
      this.report({
        kind: "committed-not-a-file",
        layer: id,
        file,
        what,
        ...this.#mending.mark(id),
      })
    );
  }

  /** Compares a layer's record of its short name with the link of that name. */
  #checkLink({ id, link }: Layer): void {
    if (link === undefined) return;
    const target = this.#links.get(link), file = this.view.join(LINKS, link).text;
    if (target === linkTarget(id)) return;
    const owner = this.#byLink.get(link);
    if (owner?.id !== id || typeof target === "string" && this.#ownerOf(target)?.link === link) {
      const other = owner?.id === id ? this.#ownerOf(target as string)!.id : owner?.id;
      return this.report({
        kind: "link-duplicate",
        layer: id,
        file: this.view.join(id, "link").text,
        what: `holds ${link}, which is the short name of layer ${other}, too`,
        ...this.#mending.name(id),
      });
    }
    const [own] = this.#namesOf(id).filter((name) => !this.#byLink.has(name));
    if (own !== undefined) {
      this.#byLink.set(own, this.#layers.get(id)!);
      return this.report({
        kind: "link-wrong",
        layer: id,
        file: this.view.join(id, "link").text,
        what: `holds ${link}, and the link to the layer is ${own}`,
        ...this.#mending.name(id),
      });
    }
    const mending = makeLink(this.view.join(LINKS, link), linkTarget(id));
    if (target === undefined) {
      const what = "is missing, and layers above are mounted through it";
      return this.report({ kind: "short-link-missing", layer: id, file, what, ...mending });
    }
    const what = typeof target === "number"
      ? target === -EINVAL ? "is not a symbolic link" : "cannot be read"
      : `points to ${quote(target)} instead of ${linkTarget(id)}`;
    const kind = typeof target === "number" ? "short-link-not-a-link" : "short-link-wrong";
    this.report({ kind, layer: id, file, what, ...mending });
  }

  /** The layer of a link's target. */
  #ownerOf(target: string): Layer | undefined {
    const id = /^\.\.\/([^/]+)\/diff$/.exec(target)?.[1];
    return id === undefined ? undefined : this.#layers.get(id);
  }

  /** Reports links that belong to no layer. */
  #checkLinks(staged: ReadonlySet<string>): void {
    const { view } = this;
    let works: ReadonlySet<string> | undefined;
    for (const [name, target] of this.#links) {
      if (this.#byLink.has(name)) continue;
      // If the layer's own record is damaged, that was reported.
      const owner = typeof target === "string" ? this.#ownerOf(target) : undefined;
      if (owner !== undefined && owner.link === undefined) {
        this.#byLink.set(name, owner);
        continue;
      }
      works ??= new Set([...staged].map((id) => readRecord(view.own("staging", id, "link")).text!));
      if (works.has(name)) continue;
      const path = view.join(LINKS, name), file = path.text;
      const [kind, what] = typeof target === "number"
        ? ["short-link-not-a-link", "is not a symbolic link to a layer"]
        : owner === undefined
        ? ["short-link-dangling", `points to ${quote(target)}, and there is no such layer`]
        : ["short-link-duplicate", `leads to layer ${owner.id}, whose short name is ${owner.link}`];
      this.report({ kind, layer: owner?.id, file, what, ...removeEntry(path) });
    }
  }

  /** Compares a layer's `lower` with its parent's records; returns the parent's id. */
  #checkLower(layer: Layer): string | undefined {
    const { id, lower } = layer;
    if (lower === undefined) return undefined;
    if (lower === "") {
      if (layer.link === undefined) return undefined;
      this.#sound.set(id, "");
      return "";
    }
    const end = lower.indexOf(":");
    const first = lower.slice(LINKS.length + 1, end < 0 ? undefined : end);
    const parent = this.#layerOf(first);
    if (parent !== undefined && parent.lower !== undefined && parent.id !== id) {
      const rest = end < 0 ? "" : lower.slice(end + 1);
      if (rest === parent.lower) {
        this.#sound.set(id, parent.id);
        return parent.id;
      }
    }
    this.#explainLower(layer, parent);
    return parent?.id === id ? undefined : parent?.id;
  }

  /**
   * The layer of a short name: according to the layers' own records, or else to the link's target.
   */
  #layerOf(name: string): Layer | undefined {
    const target = this.#links.get(name);
    return this.#byLink.get(name) ??
      (typeof target === "string" ? this.#ownerOf(target) : undefined);
  }

  /** Finds the error in a `lower` that does not agree with the parent's records. */
  #explainLower({ id, lower }: Layer, parent: Layer | undefined): void {
    const file = this.view.join(id, "lower").text;
    const report = (kind: string, what: string) => {
      this.#late.push(() =>
        this.report({ kind, layer: id, file, what, ...this.#mending.lower(id, lower) })
      );
    };
    const seen = new Set<string>();
    for (const entry of lower!.split(":")) {
      const name = entry.slice(LINKS.length + 1);
      if (seen.has(name)) return report("lower-duplicate", `names ${entry} twice`);
      seen.add(name);
      const below = this.#layerOf(name);
      if (below === undefined) {
        return report("lower-dangling", `names ${entry}, which leads to no layer`);
      }
      if (below.id === id) {
        return report("lower-cycle", `makes layer ${id} one of its own ancestors`);
      }
    }
    // If the parent's own record is damaged, that was reported.
    if (parent === undefined || parent.lower === undefined) return;
    const below = [parent.link, ...namesIn(parent.lower)].filter(Boolean);
    if (below.some((name) => this.#layerOf(name!)?.id === id)) {
      return report("lower-cycle", `makes layer ${id} one of its own ancestors`);
    }
    report(
      "lower-wrong",
      `names other layers below ${parent.id} than that layer's own records`,
    );
  }
}
