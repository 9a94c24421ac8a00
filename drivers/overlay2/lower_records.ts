/**
 * Reads the `lower` files as records of parents.
 *
 * The first entry of a layer's `lower` is a link to its parent. So the record names the parent in
 * two ways: by the entry, and by the id that the link leads to. A layer with either name may be the
 * parent.
 *
 * @module
 */
import type { ParentRecords } from "../../lib/graph/parent_records.ts";
import { isEntry, type Layout, LINKS } from "./layout.ts";

export function lowerRecords(layout: Layout): ParentRecords {
  return {
    layers: layout.home.join(),
    directory: layout.home.join(),
    path: (id) => `${id}/lower`,
    parents(start) {
      const first = /^[^:\n]*/.exec(start)![0];
      if (!isEntry(first)) return [];
      const parent = attempted(() => layout.resolve(first, "a layer"));
      return parent === undefined ? [first] : [first, parent];
    },
    names(id) {
      const link = attempted(() => layout.link(id));
      return link === undefined ? [id] : [id, `${LINKS}/${link}`];
    },
  };
}

/** The content of a record; `undefined` if it is damaged. */
function attempted(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
