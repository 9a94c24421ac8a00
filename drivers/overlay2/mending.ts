/**
 * What mends the records of an overlay2 home: from each other, and from Docker's records.
 *
 * Every fact is there twice. A layer's short name is in `link`, in the link in `l/`, and in the
 * `lower` of each child. A `lower` is that of the parent behind the parent's name, and the end of
 * that of each child. Only records that agree with those of the layers below are copied.
 *
 * @module
 */
import { dockersParents } from "../../lib/care/docker_records.ts";
import {
  DOCKERS_RECORD,
  makeLink,
  type Mending,
  remakeLayer,
  removeEntry,
  writeRecord,
} from "../../lib/care/mending.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import { LINKS, linkTarget, newLinkName } from "./layout.ts";

/** A layer as far as its records can be read. */
export interface Layer {
  readonly id: string;
  /** Its short name; `undefined` if the record is damaged. */
  readonly link: string | undefined;
  /** The text of `lower`; `""` without one, `undefined` if it is damaged. */
  readonly lower: string | undefined;
}

/** A home as a check has read it. */
export interface ReadLayout {
  readonly view: StoreView;
  readonly layers: ReadonlyMap<string, Layer>;
  /** The parent of each layer whose `lower` is as the parent's records have it; `""` for none. */
  readonly sound: ReadonlyMap<string, string>;
  /** The layer of a short name. */
  layerOf(name: string): Layer | undefined;
  /** The names of the links in `l/` that lead to a layer. */
  namesOf(id: string): readonly string[];
}

/** The names that a `lower` holds. */
export const namesIn = (lower: string): string[] =>
  lower === "" ? [] : lower.split(":").map((entry) => entry.slice(LINKS.length + 1));

/** Answers for one home. */
export class LayoutMending {
  #named: ReadonlySet<string> | undefined;
  #children: ReadonlyMap<string, readonly Layer[]> | undefined;
  #dockers: ReadonlyMap<string, string> | undefined;

  constructor(readonly layout: ReadLayout) {}

  /** The record of a layer's short name: as a link has it by which layers above are mounted. */
  name(id: string): Mending {
    const { view, layers, namesOf } = this.layout, path = view.join(id, "link");
    const names = namesOf(id);
    this.#named ??= new Set([...layers.values()].flatMap(({ lower }) => namesIn(lower ?? "")));
    const name = names.find((name) => this.#named!.has(name)) ?? names[0];
    if (name !== undefined) return writeRecord(path, name, DOCKERS_RECORD);
    // No layer is mounted by a name that leads nowhere.
    const made = newLinkName();
    const link = makeLink(view.join(LINKS, made), linkTarget(id));
    const record = writeRecord(path, made, DOCKERS_RECORD);
    return {
      remedy: `${link.remedy}, and ${record.remedy}`.replaceAll(made, "<a new name>"),
      repair: [...link.repair!, ...record.repair!],
    };
  }

  /**
   * The record of the layers below a layer.
   *
   * @param text of the record, if it can be read
   */
  lower(id: string, text = ""): Mending {
    const lower = this.#bySelf(id, text) ?? this.#byChildren(id) ?? this.#byDocker(id);
    if (lower === undefined) return remakeLayer(id);
    return writeRecord(this.layout.view.join(id, "lower"), lower, DOCKERS_RECORD);
  }

  /** The mark that a layer has children. */
  mark(id: string): Mending {
    const path = this.layout.view.join(id, "committed");
    return this.#childrenOf(id).length > 0 ? writeRecord(path, "") : removeEntry(path);
  }

  /** The `lower` of a child of a layer, if that one's own is sound. */
  #onParent(parent: Layer | undefined): string | undefined {
    if (parent?.link === undefined || !this.layout.sound.has(parent.id)) return undefined;
    const entry = `${LINKS}/${parent.link}`;
    return parent.lower ? `${entry}:${parent.lower}` : entry;
  }

  /**
   * By what the record itself still names: its parent is the layer of which all others are
   * ancestors. Only its last name may be cut short.
   */
  #bySelf(id: string, text: string): string | undefined {
    const names = namesIn(text);
    const found = names.map((name) => this.layout.layerOf(name));
    if (found.slice(0, -1).includes(undefined)) return undefined;
    const named = new Set(found.filter((layer) => layer !== undefined && layer.id !== id));
    let parent: Layer | undefined;
    for (const layer of named) {
      if (parent === undefined || depthOf(layer!) > depthOf(parent)) parent = layer;
    }
    const lower = this.#onParent(parent);
    if (lower === undefined) return undefined;
    const below = new Set(namesIn(lower).map((name) => this.layout.layerOf(name)));
    return [...named].every((layer) => below.has(layer)) && !this.#has(below, id)
      ? lower
      : undefined;
  }

  /** By what the layers on it say that lies below it. */
  #byChildren(id: string): string | undefined {
    for (const { lower } of this.#childrenOf(id)) {
      const rest = lower!.slice(lower!.indexOf(":") + 1);
      if (rest === lower) continue;
      const found = this.#onParent(this.layout.layerOf(namesIn(rest)[0]));
      if (found === rest && !this.#hasName(found, id)) return found;
    }
    return undefined;
  }

  #byDocker(id: string): string | undefined {
    const { view, layers } = this.layout;
    this.#dockers ??= dockersParents(view.root, "overlay2");
    const lower = this.#onParent(layers.get(this.#dockers.get(id) ?? ""));
    return lower !== undefined && this.#hasName(lower, id) ? undefined : lower;
  }

  #hasName(lower: string, id: string): boolean {
    return this.#has(namesIn(lower).map((name) => this.layout.layerOf(name)), id);
  }

  #has(layers: Iterable<Layer | undefined>, id: string): boolean {
    return [...layers].some((layer) => layer?.id === id);
  }

  /** The layers whose `lower` begins with a layer's name. */
  #childrenOf(id: string): readonly Layer[] {
    if (this.#children === undefined) {
      const children = new Map<string, Layer[]>();
      for (const layer of this.layout.layers.values()) {
        if (!layer.lower) continue;
        const parent = this.layout.layerOf(namesIn(layer.lower)[0])?.id;
        if (parent === undefined || parent === layer.id) continue;
        const others = children.get(parent);
        if (others === undefined) children.set(parent, [layer]);
        else others.push(layer);
      }
      this.#children = children;
    }
    return this.#children.get(id) ?? [];
  }
}

const depthOf = ({ lower }: Layer) => lower?.length ?? 0;
