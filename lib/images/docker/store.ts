/**
 * Reads a Docker store without Docker: its images, its containers and their layers. Nothing below
 * its root is changed, not even an access time.
 *
 * A container that broke out may have written any of it, so names are checked and sizes are
 * bounded.
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

/** Opens the trees of a driver's home. The result closes the home. */
export type OpenTrees = (home: FrozenDirectory) => DockerTrees;

/** An open store. */
export class DockerStore implements Disposable {
  readonly images: DockerImages;
  readonly containers: DockerContainers;
  /** The records of the layers. */
  readonly layers: DockerLayers;
  /** Opens the layers' files at the first call. This object closes them. */
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
    // The trees are opened only when files are needed: for devicemapper this makes devices.
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
   * @param driver one of `drivers`, or `undefined` for the only driver with images in the store
   * @param drivers the functions that open the drivers' trees
   * @throws {VeneerError} `not found`, `not supported` for another driver, `in use` if a dockerd
   * runs on it
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

/** The only driver with images in a store. */
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
