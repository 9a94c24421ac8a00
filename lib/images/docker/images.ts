/**
 * The images of a Docker store.
 *
 * ```text
 * image/<driver>/repositories.json
 * image/<driver>/imagedb/content/sha256/<id>             the config
 * image/<driver>/imagedb/metadata/sha256/<id>/parent     the image that it was built on
 * ```
 *
 * @module
 */
import { close, writeAll } from "../../../ffi/files.ts";
import { codeOf, VeneerError } from "../../base/errors.ts";
import { IDENTITY } from "../../base/id_maps.ts";
import { isDockerId } from "../../base/ids.ts";
import { bareImage, isChainId } from "../chain.ts";
import { type ImageConfig, parseConfig } from "../config.ts";
import { digest } from "../digest.ts";
import type { WrittenImage } from "../export.ts";
import { JsonFields, parseJson } from "../json.ts";
import type { FoundImage, FoundLayer } from "../found_image.ts";
import { type LayerName, type LayerTars, putTar } from "../layer_tars.ts";
import { rebuilt } from "../rebuild.ts";
import { tryNormalise } from "../reference.ts";
import type { ImageFile } from "../source.ts";
import { deltaOf } from "./delta.ts";
import type { DockerLayers } from "./layers.ts";
import { readTarSplit } from "./tar_split.ts";
import type { DockerTrees } from "./trees.ts";

/** An image of a Docker store. */
export interface DockerImage {
  /** The config's digest. */
  readonly id: string;
  readonly config: ImageConfig;
  /** Complete names, sorted. */
  readonly names: readonly string[];
  /** Names with the digests that it has in registries, sorted. */
  readonly digests: readonly string[];
  /** The time in the config. */
  readonly created: string | null;
  /** The bytes of its files. */
  readonly size: number;
}

/** The images of one store. */
export class DockerImages {
  readonly #layers: DockerLayers;
  readonly #trees: () => DockerTrees;

  constructor(layers: DockerLayers, trees: () => DockerTrees) {
    this.#layers = layers;
    this.#trees = trees;
  }

  /**
   * All images that have a name or that no image was built on, the newest first.
   *
   * @param warn gets a line about each image that cannot be read
   */
  list(warn: (message: string) => void): DockerImage[] {
    const { images } = this.#layers, names = this.#namesOrWarn(warn);
    const ids = images.list("imagedb/content/sha256").filter(isDockerId);
    const parents = new Set(
      ids.map((hex) => images.text(`imagedb/metadata/sha256/${hex}/parent`)),
    );
    const found: DockerImage[] = [];
    for (const hex of ids) {
      const id = `sha256:${hex}`;
      if (!names.has(id) && parents.has(id)) continue;
      try {
        found.push(this.#image(id, names));
      } catch (error) {
        if (!(error instanceof VeneerError)) throw error;
        warn(`image ${id} is left out: ${error.message}`);
      }
    }
    return found.sort((a, b) => compare(b.created ?? "", a.created ?? "") || compare(a.id, b.id));
  }

  /**
   * The image with a name, an id, or an unambiguous beginning of an id.
   *
   * @throws {VeneerError} `not found`; `corrupt store` if it is damaged
   */
  find(text: string): DockerImage {
    const names = this.#names(), whole = tryNormalise(text);
    for (const [id, own] of names) if (whole && own.includes(whole)) return this.#image(id, names);
    const hex = text.replace(/^sha256:/, "");
    const found = /^[0-9a-f]{4,64}$/.test(hex)
      ? this.#layers.images.list("imagedb/content/sha256").filter((id) => id.startsWith(hex))
      : [];
    if (found.length === 1) return this.#image(`sha256:${found[0]}`, names);
    const shown = JSON.stringify(text.slice(0, 200));
    throw found.length > 1
      ? new VeneerError("invalid argument", `image ${text}: several ids begin so; write more of it`)
      : new VeneerError("not found", `image ${shown} is not in ${this.#layers.images.path}`);
  }

  /**
   * The image to export: with the name that is given, or with all for an id. For the chain id of a
   * layer, an image of it and the layers below is made.
   *
   * @param time the creation time of such an image, in seconds since 1970
   */
  written(text: string, time: number): WrittenImage {
    try {
      const { id, config, names } = this.find(text), name = tryNormalise(text);
      const isNamed = name !== undefined && names.includes(name);
      return { id, config: config.bytes, names: isNamed ? [name] : names };
    } catch (error) {
      if (codeOf(error) !== "not found" || !this.#layers.has(text)) throw error;
      const diffIds = this.#layers.below(text).map(({ diffId }) => diffId);
      return bareImage(diffIds.reverse(), time);
    }
  }

  #image(id: string, names: ReadonlyMap<string, readonly string[]>): DockerImage {
    const { images } = this.#layers;
    const path = `imagedb/content/sha256/${id.slice("sha256:".length)}`;
    const what = `${images.path}/${path}`, bytes = images.read(path);
    if (bytes === undefined) throw new VeneerError("corrupt store", `${what} is missing`);
    const config = parseConfig(bytes, what);
    if (config.id !== id) {
      throw new VeneerError("corrupt store", `${what} has the content of ${config.id}`);
    }
    const own = names.get(id) ?? [], layers = this.#layers.below(config.chains.at(-1));
    return {
      id,
      config,
      names: own.filter((name) => !name.includes("@")),
      digests: own.filter((name) => name.includes("@")),
      created: new JsonFields(parseJson(bytes, what), what).text("created") ?? null,
      size: layers.reduce((sum, { size }) => sum + size, 0),
    };
  }

  #namesOrWarn(warn: (message: string) => void): Map<string, string[]> {
    try {
      return this.#names();
    } catch (error) {
      if (!(error instanceof VeneerError)) throw error;
      warn(`images are shown without names: ${error.message}`);
      return new Map();
    }
  }

  /** The names in `repositories.json`, by the ids of their images. */
  #names(): Map<string, string[]> {
    const { images } = this.#layers, path = "repositories.json", bytes = images.read(path);
    const found = new Map<string, string[]>();
    if (bytes === undefined) return found;
    const what = `${images.path}/${path}`;
    const repositories = new JsonFields(parseJson(bytes, what), what).object("Repositories");
    for (const repository of repositories?.names() ?? []) {
      const own = repositories!.requireObject(repository);
      for (const text of own.names()) {
        const id = own.requireText(text), name = text.includes("@") ? text : tryNormalise(text);
        if (name !== undefined) found.set(id, [...found.get(id) ?? [], name].sort());
      }
    }
    return found;
  }

  /** The tars of images' layers, byte for byte, by Docker's records. */
  get tars(): LayerTars {
    const open = (chain: string, isChecked: boolean, scope: DisposableStack) => {
      const layers = this.#layers, { fd, path } = layers.openTarSplit(chain);
      scope.defer(() => close(fd));
      const root = this.#trees().open(layers.layer(chain).cacheId, scope);
      return rebuilt(readTarSplit(fd, path, isChecked), root);
    };
    return {
      open: (_diffId, chain, scope) => open(chain, false, scope),
      openChecked: (_diffId, chain, scope) => open(chain, true, scope),
      writeNew: (chain, output, warn) => {
        using scope = new DisposableStack();
        const [own, ...below] = this.#layers.below(chain).map(({ cacheId }) => cacheId);
        const delta = deltaOf(this.#trees(), [own, ...below], scope);
        delta.export(output, { idMaps: IDENTITY, warn });
      },
    };
  }

  /**
   * An image in the form for an import.
   *
   * @param openSpool opens an empty file for a layer's tar, on a disk with room for it
   */
  found({ config, names }: DockerImage, openSpool: () => number): FoundImage {
    const layers = config.diffIds.map((diffId, i) => ({ diffId, chain: config.chains[i] }));
    const toImport = this.layersToImport(layers, openSpool);
    return { config, manifest: undefined, names, layers: toImport };
  }

  /** Layers in the form for an import. @param openSpool as for {@linkcode found} */
  layersToImport(layers: readonly LayerName[], openSpool: () => number): FoundLayer[] {
    const { tars } = this;
    return layers.map(({ diffId, chain }) => ({
      what: `layer ${diffId}`,
      digest: undefined,
      open: () => spoolTar(tars, { diffId, chain }, openSpool()),
    }));
  }

  /** The config of an image; `undefined` if it is missing or damaged. */
  tryConfig(id: string): Uint8Array<ArrayBuffer> | undefined {
    if (!isChainId(id)) return undefined;
    const bytes = this.#layers.images.read(`imagedb/content/sha256/${id.slice("sha256:".length)}`);
    return bytes !== undefined && digest(bytes) === id ? bytes : undefined;
  }
}

/** Writes a layer's tar to an empty file. The result closes the file. */
function spoolTar(tars: LayerTars, layer: LayerName, fd: number): ImageFile {
  try {
    let size = 0;
    putTar(tars, layer, (bytes) => {
      writeAll(fd, bytes);
      size += bytes.length;
    });
    return { fd, offset: 0, size, [Symbol.dispose]: () => close(fd) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

const compare = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;
