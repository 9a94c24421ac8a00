/**
 * Veneer's own records in a home, which are the same for every driver: parents, id maps, marks of
 * incomplete layers.
 *
 * Records of layers that do not exist are not damage: a killed process leaves them, and the next
 * creation of that id replaces them. `gc` lists them.
 *
 * @module
 */
import { Stat } from "../../ffi/stat.ts";
import { IdMap } from "../base/id_maps.ts";
import { isId } from "../base/ids.ts";
import { TARS } from "../images/tar_records.ts";
import { CONTENT } from "../store/content_records.ts";
import { OWN_DIRECTORIES } from "../store/home.ts";
import { tryLstat } from "../tree/confined.ts";
import type { Report } from "./finding.ts";
import {
  adoptRecord,
  closeToOthers,
  makeDirectory,
  type Mending,
  removeEntry,
  writeRecord,
} from "./mending.ts";
import { QUARANTINE } from "./quarantine.ts";
import { quote, readRecord, typeWords } from "./record_file.ts";
import type { StoreView } from "./store_view.ts";
import type { Parents } from "./structure.ts";

/** Reports damaged records of the layers of a store. */
export function checkOwnRecords(view: StoreView, layers: Parents, report: Report): void {
  checkDirectories(view, report);
  checkParents(view, layers, report);
  for (const id of view.names(view.own("id-maps"))) {
    if (layers.has(id)) checkIdMaps(view, id, layers, report);
  }
  for (const id of view.names(view.own("incomplete"))) {
    if (layers.has(id)) checkMark(view, id, report);
  }
}

/**
 * Reports other entries in the places of directories of a driver's layout.
 *
 * @param modes the modes of the directories, by their paths relative to the home
 * @param isNeeded whether a missing directory is damage; otherwise the next command makes it
 */
export function checkPlaces(
  view: StoreView,
  modes: Readonly<Record<string, number>>,
  report: Report,
  isNeeded = false,
): void {
  const stat = new Stat();
  for (const [name, mode] of Object.entries(modes)) {
    const path = view.join(name);
    const found = tryLstat(path, stat), mending = makeDirectory(path, mode), file = path.text;
    if (found === undefined && isNeeded) {
      report({ kind: `${name}-missing`, file, what: "is missing", ...mending });
    } else if (found !== undefined && !stat.isDirectory) {
      const what = `is ${typeWords(stat)}, and layers have their parts in a directory of that name`;
      report({ kind: `${name}-not-a-directory`, file, what, ...mending });
    }
  }
}

/**
 * Returns the parents of all layers. If the layout has no parent, it is taken from Veneer's
 * records.
 */
export function withOwnParents(view: StoreView, layers: Parents): Map<string, string | undefined> {
  const all = new Map(layers);
  for (const id of view.names(view.own("parents"))) {
    if (!all.has(id) || all.get(id) !== undefined) continue;
    const { text } = readRecord(view.own("parents", id), { mayBeEmpty: true });
    if (text === "" || text !== undefined && isId(text)) all.set(id, text);
  }
  return all;
}

function checkDirectories(view: StoreView, report: Report): void {
  const stat = new Stat();
  for (const name of [undefined, ...OWN_DIRECTORIES, CONTENT, TARS, QUARANTINE]) {
    const path = name === undefined ? view.own() : view.own(name);
    if (tryLstat(path, stat) === undefined) continue;
    const file = path.text, kind = name ?? "own-records";
    if (!stat.isDirectory) {
      report({
        kind: `${kind}-not-a-directory`,
        file,
        what: `is ${typeWords(stat)}, and Veneer keeps records in a directory of that name`,
        ...makeDirectory(path, 0o700),
      });
    } else if ((stat.mode & 0o022) !== 0) {
      report({
        kind: `${kind}-owner`,
        file,
        what: `has mode ${(stat.mode & 0o7777).toString(8)}, so others can change what is in it`,
        ...closeToOthers(path),
      });
    }
  }
}

function checkParents(view: StoreView, layers: Parents, report: Report): void {
  const parents = new Map<string, string>();
  for (const id of view.names(view.own("parents"))) {
    if (!layers.has(id)) continue;
    const path = view.own("parents", id), file = path.text;
    const record = readRecord(path, { most: 256, mayBeEmpty: true });
    const mending = parentMending(view, id);
    if (record.fault !== undefined) {
      if (record.fault === "missing") continue;
      const faulty = record.fault === "owner" ? adoptRecord(path) : mending;
      report({ kind: `parent-${record.fault}`, layer: id, file, what: record.what, ...faulty });
    } else if (record.text !== "" && !isId(record.text)) {
      const what = `holds ${quote(record.text)}, which is not a layer id`;
      report({ kind: "parent-invalid", layer: id, file, what, ...mending });
    } else if (record.text !== "" && !layers.has(record.text)) {
      const what = `names layer ${record.text}, which does not exist`;
      report({ kind: "parent-dangling", layer: id, file, what, ...mending });
    } else parents.set(id, record.text);
  }
  for (const id of circular(parents)) {
    report({
      kind: "parent-cycle",
      layer: id,
      file: view.own("parents", id).text,
      what: `makes layer ${id} one of its own ancestors`,
      ...parentMending(view, id),
    });
  }
}

/** A layer without a record is used like one of Docker's, which have no records. */
const parentMending = (view: StoreView, id: string): Mending =>
  removeEntry(
    view.own("parents", id),
    `write the id of the parent of layer ${id} into it, or remove it`,
  );

/** The layers that are their own ancestors. Each layer is visited once. */
export function circular(parents: ReadonlyMap<string, string | undefined>): string[] {
  const done = new Set<string>(), found: string[] = [];
  for (const start of parents.keys()) {
    const way = new Set<string>();
    let at: string | undefined = start;
    while (at && !done.has(at) && !way.has(at)) {
      way.add(at);
      at = parents.get(at);
    }
    if (at && way.has(at)) found.push(...[...way].slice([...way].indexOf(at)));
    way.forEach((id) => done.add(id));
  }
  return found;
}

function checkIdMaps(view: StoreView, id: string, layers: Parents, report: Report): void {
  const path = view.own("id-maps", id), file = path.text;
  const record = readRecord(path);
  if (record.fault === "missing") return;
  const [kind, what] = record.fault !== undefined
    ? [`id-maps-${record.fault}`, record.what]
    : isMaps(record.text)
    ? [undefined, ""]
    : [
      "id-maps-invalid",
      `holds ${quote(record.text)}, which are not the id maps of users and groups`,
    ];
  if (kind === undefined) return;
  report({ kind, layer: id, file, what, ...idMapsMending(view, id, layers) });
}

/** A layer and its parent have equal maps, and so have its children. */
function idMapsMending(view: StoreView, id: string, layers: Parents): Mending {
  const path = view.own("id-maps", id);
  const children = [...layers].filter(([, parent]) => parent === id).map(([child]) => child);
  for (const other of [layers.get(id), ...children]) {
    const { text } = other ? readRecord(view.own("id-maps", other)) : {};
    if (text !== undefined && isMaps(text)) return writeRecord(path, text);
  }
  return removeEntry(
    path,
    "write the users' map into its first line and the groups' into its second, such as " +
      `0:100000:65536; or remove layer ${id} and make it again`,
  );
}

function isMaps(text: string): boolean {
  const lines = text.split("\n");
  if (lines.length !== 2) return false;
  try {
    for (const line of lines) if (line !== "") IdMap.parse([line]);
    return true;
  } catch {
    return false;
  }
}

function checkMark(view: StoreView, id: string, report: Report): void {
  const path = view.own("incomplete", id);
  const record = readRecord(path, { mayBeEmpty: true });
  if (record.fault === undefined || record.fault === "missing") return;
  report({
    kind: `incomplete-mark-${record.fault}`,
    layer: id,
    file: path.text,
    what: `${record.what}, and so layer ${id} counts as incomplete`,
    ...writeRecord(path, ""),
    remedy: `remove it if the layer is whole, or apply to the layer again`,
  });
}
