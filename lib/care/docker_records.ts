/**
 * Reads Docker's own records of a store's layers: the layers that they name, and the images and
 * containers that use these. Nothing is changed.
 *
 * ```text
 * image/<driver>/layerdb/sha256/<chain>/cache-id       the driver's layer of an image's layer
 * image/<driver>/layerdb/mounts/<container>/mount-id   the driver's layer of a container
 * image/<driver>/layerdb/mounts/<container>/init-id    the one below that
 * image/<driver>/imagedb/content/sha256/<image>        an image's configuration
 * ```
 *
 * @module
 */
import { isDockerId, isId } from "../base/ids.ts";
import { chainIds } from "../images/digest.ts";
import { tryLstat as tryLstatByPath } from "../../ffi/stat.ts";
import { tryLstat } from "../tree/confined.ts";
import { StoreView } from "./store_view.ts";
import type { Report } from "./finding.ts";
import { removeDockers } from "./mending.ts";
import { quote, readRecord } from "./record_file.ts";

/** One of Docker's records that names a layer. */
export interface DockerUse {
  /** The driver's layer. */
  readonly layer: string;
  /** The file that names it. */
  readonly file: string;
  /** For a container's layer: the container. */
  readonly container?: string;
  /** For an image's layer: the chain id, in hexadecimal. */
  readonly chain?: string;
}

/** Docker's records of one driver's layers. */
export interface DockerRecords {
  readonly uses: readonly DockerUse[];
  /** Images by the chain ids of their layers. */
  readonly images: ReadonlyMap<string, readonly string[]>;
}

/** The configurations of images are far smaller. */
const MOST_CONFIG = 4 << 20;

/**
 * Reads the records of a driver below a root; `undefined` if Docker has none there.
 *
 * @param report gets the damaged ones
 */
export function readDockerRecords(
  root: string,
  driver: string,
  report: Report,
): DockerRecords | undefined {
  using view = StoreView.open(root, `image/${driver}`);
  if (view === undefined) return undefined;
  const uses: DockerUse[] = [];
  const use = (owner: Pick<DockerUse, "container" | "chain">, ...parts: string[]) => {
    const path = view.join("layerdb", ...parts), file = path.text;
    const record = readRecord(path, { most: 512 });
    if (record.fault === "missing") return;
    const mending = dockersMending(owner);
    if (record.fault !== undefined) {
      report({
        kind: `docker-${parts.at(-1)}-${record.fault}`,
        file,
        what: record.what,
        ...mending,
      });
    } else if (isId(record.text)) uses.push({ ...owner, layer: record.text, file });
    else {
      const what = `holds ${quote(record.text)}, which is not a layer id`;
      report({ kind: `docker-${parts.at(-1)}-invalid`, file, what, ...mending });
    }
  };
  // A directory that is being made or removed has a suffix, and is left out.
  for (const chain of view.names(view.join("layerdb/sha256")).filter(isDockerId)) {
    use({ chain }, "sha256", chain, "cache-id");
  }
  for (const container of view.names(view.join("layerdb/mounts"))) {
    use({ container }, "mounts", container, "mount-id");
    use({ container }, "mounts", container, "init-id");
  }
  reportUnseen(view, report);
  return { uses, images: imagesOf(view) };
}

/** Reports directories of records whose content is not known. */
function reportUnseen(view: StoreView, report: Report): void {
  for (const { path, reason } of view.unread) {
    report({
      kind: "docker-records-unreadable",
      file: path,
      what: `cannot be listed: ${reason}`,
      remedy: "restore it, or stop Docker and move it aside",
    });
  }
  for (const name of ["layerdb", "layerdb/sha256", "layerdb/mounts"]) {
    const path = view.join(name);
    const visible = tryLstatByPath(path.text), seen = tryLstat(path);
    const isSeen = visible === undefined
      ? seen === undefined
      : seen !== undefined && visible.isSameInode(seen);
    if (isSeen) continue;
    report({
      kind: "docker-records-hidden",
      file: path.text,
      what: "is mounted over, and the content of that mount is not examined",
      remedy: "unmount it there, and mount Docker's whole directory instead",
    });
  }
}

/**
 * Makes a harmful record harmless: without it Docker does not know the layer, and makes it again.
 */
export function dockersMending({ container, chain }: Pick<DockerUse, "container" | "chain">) {
  return container === undefined
    ? removeDockers(`layerdb/sha256/${chain}`, "have Docker pull the image again")
    : removeDockers(
      `layerdb/mounts/${container}`,
      `have Docker remove container ${container} and make it again`,
    );
}

/**
 * The parents of a driver's layers as Docker's records have them.
 *
 * ```text
 * layerdb/sha256/<chain>/parent       the chain below, `sha256:…`
 * layerdb/mounts/<container>/parent   the chain below the container's lower layer, `init-id`
 * ```
 */
export function dockersParents(root: string, driver: string): Map<string, string> {
  const parents = new Map<string, string>();
  using view = StoreView.open(root, `image/${driver}`);
  if (view === undefined) return parents;
  const read = (...parts: string[]) =>
    readRecord(view.join("layerdb", ...parts), { most: 512 }).text ?? "";
  const ofChain = (text: string) => {
    const chain = text.replace(/^sha256:/, "");
    return isDockerId(chain) ? read("sha256", chain, "cache-id") : "";
  };
  const add = (layer: string, parent: string) => {
    if (isId(layer) && isId(parent)) parents.set(layer, parent);
  };
  for (const chain of view.names(view.join("layerdb/sha256")).filter(isDockerId)) {
    add(read("sha256", chain, "cache-id"), ofChain(read("sha256", chain, "parent")));
  }
  for (const container of view.names(view.join("layerdb/mounts"))) {
    const [own, init] = ["mount-id", "init-id"].map((name) => read("mounts", container, name));
    const below = ofChain(read("mounts", container, "parent"));
    add(own, isId(init) ? init : below);
    add(init, below);
  }
  return parents;
}

/** Images by the chain ids of their layers. */
function imagesOf(view: StoreView): Map<string, string[]> {
  const images = new Map<string, string[]>();
  for (const image of view.names(view.join("imagedb/content/sha256"))) {
    const path = view.join("imagedb/content/sha256", image);
    const { text } = readRecord(path, { most: MOST_CONFIG });
    for (const chain of chainsOf(text ?? "")) {
      images.set(chain, [...images.get(chain) ?? [], image]);
    }
  }
  return images;
}

/** The chain ids of a configuration's layers, in hexadecimal. */
function chainsOf(config: string): string[] {
  try {
    const ids: unknown = JSON.parse(config).rootfs?.diff_ids;
    if (!Array.isArray(ids)) return [];
    return chainIds(ids.map(String)).map((chain) => chain.replace(/^sha256:/, ""));
  } catch {
    return []; // Docker itself reports a damaged one.
  }
}
