/**
 * A store of Docker's that is read without Docker: its images, its containers and their layers.
 * Nothing below its root is changed, not even a time of access.
 *
 * All that is read may have been written by a container that broke out, so names are checked and
 * sizes bounded.
 *
 * @module
 */
import { dockerOn } from "../../store/dockerd.ts";
import { VeneerError } from "../../base/errors.ts";
import { DockerContainers } from "./containers.ts";
import { FrozenDirectory } from "./frozen.ts";
import { DockerImages } from "./images.ts";
import { DockerLayers } from "./layers.ts";
import type { DockerTrees } from "./trees.ts";

/** Opens the trees of a driver's home, which the result closes. */
export type OpenTrees = (home: FrozenDirectory) => DockerTrees;

/** An open store. */
export class DockerStore implements Disposable {
  readonly images: DockerImages;
  readonly containers: DockerContainers;
  /** The records of its layers. */
  readonly layers: DockerLayers;
  /** Opens the layers' files, once; this object closes them. */
  readonly trees: () => DockerTrees;
  readonly #scope = new DisposableStack();

  private constructor(
    readonly root: string,
    /** The storage driver's name. */
    readonly driver: string,
    openTrees: OpenTrees,
  ) {
    const scope = this.#scope;
    const required = (path: string) => {
      const opened = FrozenDirectory.open(`${root}/${path}`);
      if (opened !== undefined) return scope.use(opened);
      throw new VeneerError("not found", `there is no store of Docker's at ${root}: no ${path}`);
    };
    const layers = this.layers = new DockerLayers(required(`image/${driver}`));
    const homeOf = () => {
      const home = FrozenDirectory.open(`${root}/${driver}`);
      if (home !== undefined) return home;
      throw new VeneerError(
        "corrupt store",
        `${root}/${driver} is missing: no layer has its files`,
      );
    };
    let trees: DockerTrees | undefined;
    // Opened by the first one that wants files: for devicemapper, devices are made for that.
    const lazily = this.trees = () => trees ??= scope.use(openTrees(homeOf()));
    const containers = FrozenDirectory.open(`${root}/containers`);
    if (containers !== undefined) scope.use(containers);
    this.images = new DockerImages(layers, lazily);
    this.containers = new DockerContainers(containers, driver, layers, lazily);
  }

  /**
   * Opens a store.
   *
   * @param root Docker's `data-root`, absolute
   * @param driver one of `drivers`, or `undefined` for the only one that the store has images of
   * @param drivers how each driver's trees are opened
   * @throws {VeneerError} `not found`, `not supported` for another driver, `in use` beside a dockerd
   */
  static open(
    root: string,
    driver: string | undefined,
    drivers: ReadonlyMap<string, OpenTrees>,
  ): DockerStore {
    const name = driver ?? onlyDriver(root);
    const openTrees = drivers.get(name);
    if (openTrees === undefined) {
      const known = [...drivers.keys()].join(", ");
      throw new VeneerError("not supported", `Docker's driver ${name} is not read: only ${known}`);
    }
    const home = `${root}/${name}`;
    const dockerd = dockerOn({ root, home, isRecorded: () => false });
    if (dockerd !== undefined) {
      throw new VeneerError("in use", `${dockerd} runs on ${root}: stop it first`);
    }
    return new DockerStore(root, name, openTrees);
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}

/** The driver that a store has images of. */
function onlyDriver(root: string): string {
  using images = FrozenDirectory.open(`${root}/image`);
  const names = images?.list(".") ?? [];
  const found = names.filter((name) => images!.list(`${name}/layerdb`).length > 0);
  if (found.length === 1) return found[0];
  if (found.length === 0) {
    throw new VeneerError(
      "not found",
      `there is no store of Docker's at ${root}: ${root}/image has no driver's layers`,
    );
  }
  throw new VeneerError(
    "invalid argument",
    `${root} has images of several drivers: ${found.join(", ")}; name the driver to read`,
  );
}
