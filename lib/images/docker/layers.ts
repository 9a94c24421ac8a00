/**
 * Docker's records of layers, `image/<driver>/layerdb`: the driver's directory of each layer, and
 * the layer below it.
 *
 * ```text
 * sha256/<chain id>/{cache-id,diff,parent,size,tar-split.json.gz}    an image's layer
 * mounts/<container>/{mount-id,init-id,parent}                       a container's
 * ```
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import { isId } from "../../base/ids.ts";
import { isChainId } from "../chain.ts";
import { MOST_LAYERS } from "../config.ts";
import { parseDigest } from "../digest.ts";
import type { FrozenDirectory } from "./frozen.ts";

/** A layer of an image. */
export interface DockerLayer {
  /** Its chain id. */
  readonly chain: string;
  /** The name of its files in the driver's home. */
  readonly cacheId: string;
  /** The digest of its tar. */
  readonly diffId: string;
  /** The chain id of the layer below; `undefined` for a lowest layer. */
  readonly parent: string | undefined;
  /** The bytes of its files. */
  readonly size: number;
}

/** The layers of a container. */
export interface ContainerLayers {
  /** The name of the layer with the container's changes. */
  readonly own: string;
  /** The name of the layer that Docker puts below it. */
  readonly init: string;
  /** The chain id of its image's uppermost layer; `undefined` for an image without layers. */
  readonly parent: string | undefined;
}

/** The records of one driver's layers. */
export class DockerLayers {
  /** @param images the directory `image/<driver>` */
  constructor(readonly images: FrozenDirectory) {}

  #corrupt(path: string, what: string): VeneerError {
    return new VeneerError("corrupt store", `${this.images.path}/${path} ${what}`);
  }

  #directory(chain: string): string {
    return `layerdb/sha256/${parseDigest(chain, "layer").hex}`;
  }

  #name(path: string): string {
    const text = this.images.text(path);
    if (text === undefined) throw this.#corrupt(path, "is missing");
    if (isId(text)) return text;
    throw this.#corrupt(path, `holds ${JSON.stringify(text.slice(0, 80))}, not a layer's name`);
  }

  #digest(path: string): string | undefined {
    const text = this.images.text(path);
    if (text === undefined || text === "" || isChainId(text)) return text || undefined;
    throw this.#corrupt(path, `holds ${JSON.stringify(text.slice(0, 80))}, not a digest`);
  }

  /** A layer of an image. @throws {VeneerError} `corrupt store` if its record is incomplete */
  layer(chain: string): DockerLayer {
    const path = this.#directory(chain), diffId = this.#digest(`${path}/diff`);
    if (diffId === undefined) throw this.#corrupt(`${path}/diff`, "is missing");
    const size = this.images.text(`${path}/size`) ?? "0";
    if (!/^\d{1,15}$/.test(size)) throw this.#corrupt(`${path}/size`, "is not a number");
    return {
      chain,
      cacheId: this.#name(`${path}/cache-id`),
      diffId,
      parent: this.#digest(`${path}/parent`),
      size: Number(size),
    };
  }

  /** Whether a text is the chain id of an existing layer. */
  has(text: string): boolean {
    return isChainId(text) && this.images.list(this.#directory(text)).includes("cache-id");
  }

  /** A layer and those below it, uppermost first. @throws as {@linkcode layer} */
  below(chain: string | undefined): DockerLayer[] {
    const found: DockerLayer[] = [];
    for (let next = chain; next !== undefined; next = found.at(-1)!.parent) {
      if (found.length === MOST_LAYERS) {
        throw this.#corrupt(this.#directory(chain!), `stands on more than ${MOST_LAYERS} layers`);
      }
      found.push(this.layer(next));
    }
    return found;
  }

  /** Opens the record of a layer's tar; the caller closes it. */
  openTarSplit(chain: string): { readonly fd: number; readonly path: string } {
    const path = `${this.#directory(chain)}/tar-split.json.gz`, fd = this.images.open(path);
    if (fd === undefined) throw this.#corrupt(path, "is missing: the layer's tar cannot be made");
    return { fd, path: `${this.images.path}/${path}` };
  }

  /** The layers of a container. @throws as {@linkcode layer} */
  container(id: string): ContainerLayers {
    const path = `layerdb/mounts/${id}`;
    return {
      own: this.#name(`${path}/mount-id`),
      init: this.#name(`${path}/init-id`),
      parent: this.#digest(`${path}/parent`),
    };
  }
}
