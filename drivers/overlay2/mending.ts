/**
 * Mends the records of an overlay2 home, from each other and from Docker's records.
 *
 * Every fact is recorded more than once. A layer's short name is in `link`, in `l/`, and in the
 * `lower` of each child. A `lower` is the parent's name followed by the parent's `lower`, and each
 * child's `lower` ends with it. Only records that agree with those of the layers below are copied.
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

/** The readable records of a layer. */
export interface Layer {
  readonly id: string;
  /** Its short name; `undefined` if the record is damaged. */
  readonly link: string | undefined;
  /** The text of `lower`; `""` if there is none, `undefined` if it is damaged. */
  readonly lower: string | undefined;
}

/** The records of a home, as a check has read them. */
export interface ReadLayout {
  readonly view: StoreView;
  readonly layers: ReadonlyMap<string, Layer>;
  /** The parent of each layer whose `lower` agrees with the parent's records; `""` for none. */
  readonly sound: ReadonlyMap<string, string>;
  /** The layer of a short name. */
  layerOf(name: string): Layer | undefined;
  /** The names of the links in `l/` that lead to a layer. */
  namesOf(id: string): readonly string[];
}

/** The names in a `lower`. */
export const namesIn = (lower: string): string[] =>
  lower === "" ? [] : lower.split(":").map((entry) => entry.slice(LINKS.length + 1));

/** Finds the mending of the records of one home. */
export class LayoutMending {
  #named: ReadonlySet<string> | undefined;
  #children: ReadonlyMap<string, readonly Layer[]> | undefined;
  #dockers: ReadonlyMap<string, string> | undefined;

  constructor(readonly layout: ReadLayout) {}

  /**
   * Mends the record of a layer's short name, with the name of a link through which children are
   * mounted, if there is one.
   */
  name(id: string): Mending {
    const { view, layers, namesOf } = this.layout, path = view.join(id, "link");
    const names = namesOf(id);
    this.#named ??= new Set([...layers.values()].flatMap(({ lower }) => namesIn(lower ?? "")));
    const name = names.find((name) => this.#named!.has(name)) ?? names[0];
    if (name !== undefined) return writeRecord(path, name, DOCKERS_RECORD);
    // There is no link, so no child is mounted through one: the layer gets a new name.
    const made = newLinkName();
    const link = makeLink(view.join(LINKS, made), linkTarget(id));
    const record = writeRecord(path, made, DOCKERS_RECORD);
    return {
      remedy: `${link.remedy}, and ${record.remedy}`.replaceAll(made, "<a new name>"),
      repair: [...link.repair!, ...record.repair!],
    };
  }

  /**
   * Mends the record of the layers below a layer.
   *
   * @param text the record's text, if it can be read
   */
  lower(id: string, text = ""): Mending {
    const lower = this.#bySelf(id, text) ?? this.#byChildren(id) ?? this.#byDocker(id);
    if (lower === undefined) return remakeLayer(id);
    return writeRecord(this.layout.view.join(id, "lower"), lower, DOCKERS_RECORD);
  }

  /** Mends the mark that a layer has children. */
  mark(id: string): Mending {
    const path = this.layout.view.join(id, "committed");
    return this.#childrenOf(id).length > 0 ? writeRecord(path, "") : removeEntry(path);
  }

  /** The `lower` of a child of a layer, if the layer's own `lower` is sound. */
  #onParent(parent: Layer | undefined): string | undefined {
    if (parent?.link === undefined || !this.layout.sound.has(parent.id)) return undefined;
    const entry = `${LINKS}/${parent.link}`;
    return parent.lower ? `${entry}:${parent.lower}` : entry;
  }

  /**
   * The `lower` according to the names that the record still contains: the parent is the layer of
   * which all others are ancestors. Only the last name may be incomplete.
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

  /** The `lower` according to the records of children. */
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
