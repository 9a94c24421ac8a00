/**
 * Parents by Docker's own records, for layouts in which Docker records none beside the layers:
 * those of btrfs and devicemapper.
 *
 * ```text
 * <root>/image/<driver>/layerdb/sha256/<chain id>/{cache-id,parent}           an image's layer
 * <root>/image/<driver>/layerdb/mounts/<container>/{mount-id,init-id,parent}  a container's
 * ```
 *
 * They are only used to show and compare layers. Removals and writes rely only on Veneer's own
 * records. The content of these files is not trusted: at most {@linkcode MOST_LAYERS} are read, and
 * {@linkcode LONGEST} bytes of each.
 *
 * @module
 */
import { basename, dirname } from "@std/path";
import { decode } from "../../ffi/cstring.ts";
import { readNames } from "../../ffi/directory.ts";
import {
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  RESOLVE_INSIDE,
  tryOpen,
  tryOpenat2,
  tryRead,
  withFd,
} from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { isDockerId, isId } from "../base/ids.ts";

/** The most layers of each kind whose records are read. */
const MOST_LAYERS = 100_000;

/** The most bytes of a record that are read: more than a digest or an id has. */
const LONGEST = 256;

/**
 * Reads the parents of all layers that Docker has records of.
 *
 * @param home the driver's, `<root>/<driver>`
 * @returns parents by the names of layers, `""` for a base layer
 */
export function parentsByDocker(home: string): Map<string, string> {
  const parents = new Map<string, string>();
  const root = tryOpen(dirname(home), O_PATH | O_DIRECTORY);
  if (root < 0) return parents;
  withFd(root, (root) => new DockerRecords(root, `image/${basename(home)}/layerdb`).read(parents));
  return withoutCircles(parents);
}

/** Leaves out layers whose parents lead back to them, and those that stand on such. */
function withoutCircles(parents: ReadonlyMap<string, string>): Map<string, string> {
  const found = new Map<string, string>(), seen = new Set<string>();
  for (const start of parents.keys()) {
    const chain: string[] = [], own = new Set<string>();
    let next: string | undefined = start;
    for (; next !== undefined && parents.has(next) && !seen.has(next); next = parents.get(next)) {
      seen.add(next);
      own.add(next);
      chain.push(next);
    }
    const isGood = !own.has(next!) && (next === "" || !parents.has(next!) || found.has(next!));
    if (isGood) { for (const layer of chain) found.set(layer, parents.get(layer)!); }
  }
  return found;
}

/** Reads the records of one store. */
class DockerRecords {
  /** @param root an open directory that `directory` is below */
  constructor(readonly root: number, readonly directory: string) {}

  read(parents: Map<string, string>): void {
    const chains = this.#names("sha256").filter(isDockerId);
    const layers = new Map(chains.map((chain) => [chain, this.#id(`sha256/${chain}/cache-id`)]));
    for (const [chain, layer] of layers) {
      const parent = this.#parent(`sha256/${chain}/parent`, layers);
      if (layer !== undefined && parent !== undefined) parents.set(layer, parent);
    }
    for (const container of this.#names("mounts").filter(isId)) {
      const path = `mounts/${container}`, own = this.#id(`${path}/mount-id`);
      const init = this.#id(`${path}/init-id`), parent = this.#parent(`${path}/parent`, layers);
      if (init !== undefined && parent !== undefined) parents.set(init, parent);
      // Without one, the container stands on its image.
      const below = init ?? parent;
      if (own !== undefined && below !== undefined) parents.set(own, below);
    }
  }

  /** The layer of the chain id that a record has; `""` without a record. */
  #parent(path: string, layers: ReadonlyMap<string, string | undefined>): string | undefined {
    const text = this.#text(path);
    return text === undefined ? "" : layers.get(text.replace(/^sha256:/, ""));
  }

  #id(path: string): string | undefined {
    const text = this.#text(path);
    return text !== undefined && isId(text) ? text : undefined;
  }

  /** The text of a record; `undefined` if there is none. */
  #text(path: string): string | undefined {
    const fd = this.#open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return undefined;
    return withFd(fd, (fd) => {
      if (!fstat(fd).isFile) return "";
      const bytes = new Uint8Array(LONGEST), length = tryRead(fd, bytes);
      return decode(bytes.subarray(0, Math.max(0, length))).trim();
    });
  }

  #names(path: string): string[] {
    const fd = this.#open(path, O_RDONLY | O_DIRECTORY);
    return fd < 0 ? [] : withFd(fd, readNames).sort().slice(0, MOST_LAYERS);
  }

  #open(path: string, flags: number): number {
    return tryOpenat2(this.root, `${this.directory}/${path}`, flags, RESOLVE_INSIDE);
  }
}
