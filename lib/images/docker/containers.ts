/**
 * The containers of a Docker store.
 *
 * ```text
 * containers/<id>/config.v2.json
 * image/<driver>/layerdb/mounts/<id>/…    see `layers.ts`
 * ```
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import { IDENTITY } from "../../base/id_maps.ts";
import { isDockerId } from "../../base/ids.ts";
import type { Warn } from "../../base/warn.ts";
import { type Delta, sizeOf } from "../../tar/export/delta.ts";
import { exportTree } from "../../tar/export/export.ts";
import type { RunConfig } from "../config_changes.ts";
import { JsonFields, parseJson } from "../json.ts";
import { deltaOf } from "./delta.ts";
import type { FrozenDirectory } from "./frozen.ts";
import type { DockerLayer, DockerLayers } from "./layers.ts";
import type { DockerTrees } from "./trees.ts";

/** A container of a Docker store. */
export interface DockerContainer {
  readonly id: string;
  /** The name without Docker's leading slash; `""` if it has none. */
  readonly name: string;
  /** The image's name or id in the request that made the container. */
  readonly image: string;
  /** The image's id. */
  readonly imageId: string;
  readonly created: string | null;
}

const RECORD = "config.v2.json";

/** The parts of a container's config that an image also has. */
const RUN_KEYS = new Set([
  ...["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Healthcheck", "ArgsEscaped"],
  ...["Volumes", "WorkingDir", "Labels", "StopSignal", "Shell", "OnBuild"],
]);

/** The containers of one store. */
export class DockerContainers {
  readonly #directory: FrozenDirectory | undefined;
  readonly #driver: string;
  readonly #layers: DockerLayers;
  readonly #trees: () => DockerTrees;

  /** @param directory the directory `containers`, if it exists */
  constructor(
    directory: FrozenDirectory | undefined,
    driver: string,
    layers: DockerLayers,
    trees: () => DockerTrees,
  ) {
    this.#directory = directory;
    this.#driver = driver;
    this.#layers = layers;
    this.#trees = trees;
  }

  /**
   * The containers of the store's driver, the newest first.
   *
   * @param warn gets a line about each container that cannot be read
   */
  list(warn: Warn): DockerContainer[] {
    const found: DockerContainer[] = [];
    for (const id of this.#ids()) {
      try {
        const container = this.#read(id);
        if (container !== undefined) found.push(container);
      } catch (error) {
        if (!(error instanceof VeneerError)) throw error;
        warn(`container ${id} is left out: ${error.message}`);
      }
    }
    const key = ({ created, id }: DockerContainer) => `${created ?? ""} ${id}`;
    return found.sort((a, b) => key(a) < key(b) ? 1 : -1);
  }

  #ids(): string[] {
    return this.#directory?.list(".").filter(isDockerId) ?? [];
  }

  /** `undefined` for a container of another driver. */
  #read(id: string): DockerContainer | undefined {
    const fields = new JsonFields(this.#record(id), this.#place(id));
    if (fields.text("Driver") !== this.#driver) return undefined;
    return {
      id,
      name: (fields.text("Name") ?? "").replace(/^\//, ""),
      image: fields.object("Config")?.text("Image") ?? "",
      imageId: fields.text("Image") ?? "",
      created: fields.text("Created") ?? null,
    };
  }

  #place(id: string): string {
    return `${this.#directory!.path}/${id}/${RECORD}`;
  }

  #record(id: string): unknown {
    const what = this.#place(id), bytes = this.#directory!.read(`${id}/${RECORD}`);
    if (bytes !== undefined) return parseJson(bytes, what);
    throw new VeneerError("corrupt store", `${what} is missing`);
  }

  /**
   * The container with a name, an id, or an unambiguous beginning of an id.
   *
   * @throws {VeneerError} `not found`
   */
  find(text: string, warn: Warn): DockerContainer {
    const all = this.list(warn), name = text.replace(/^\//, "");
    const exact = all.find((container) => container.id === text || container.name === name);
    if (exact !== undefined) return exact;
    const found = /^[0-9a-f]{4,}$/.test(text) ? all.filter(({ id }) => id.startsWith(text)) : [];
    if (found.length === 1) return found[0];
    throw found.length > 1
      ? new VeneerError("invalid argument", `container ${text}: several ids begin so`)
      : new VeneerError(
        "not found",
        `container ${JSON.stringify(text.slice(0, 200))} is not in ${
          this.#directory?.path ?? "the store, which has none"
        }`,
      );
  }

  /** The names of a container's layers, uppermost first. */
  #chain(id: string): [own: string, init: string, ...string[]] {
    const { own, init, parent } = this.#layers.container(id);
    return [own, init, ...this.#layers.below(parent).map(({ cacheId }) => cacheId)];
  }

  /** The layers of a container's image, the lowest first. */
  layersBelow(id: string): DockerLayer[] {
    return this.#layers.below(this.#layers.container(id).parent).reverse();
  }

  /** The part of a container's config that an image can have. */
  runConfig(id: string): RunConfig {
    const { Config: config } = this.#record(id) as { Config?: RunConfig };
    const given = Object.entries(config ?? {}).filter(([, value]) => value !== null);
    return Object.fromEntries(given.filter(([key]) => RUN_KEYS.has(key)));
  }

  /** Opens a container's changes of its image; `scope` closes them. */
  changes(id: string, scope: DisposableStack): Delta {
    return deltaOf(this.#trees(), this.#chain(id), scope);
  }

  /** The bytes of the files that a container changed or added. */
  size(id: string): number {
    using scope = new DisposableStack();
    return sizeOf(this.changes(id, scope));
  }

  /** Writes a container's whole file system as a tar; returns the number of bytes written. */
  export(id: string, output: number, warn: Warn): number {
    using scope = new DisposableStack();
    const trees = this.#trees(), root = trees.whole(this.#chain(id), scope);
    // A union tree shows the deletion marks of aufs, which are files; it does not show those of
    // overlay.
    const form = trees.form === "aufs" ? "aufs" : "none";
    return exportTree(root, output, form, { idMaps: IDENTITY, warn });
  }
}
