/**
 * Docker's stores, read without a running Docker.
 *
 * @module
 */
import { VeneerError } from "../lib/base/errors.ts";
import { type DirectoryForm, DirectoryTrees } from "../lib/images/docker/directory_trees.ts";
import { DockerStore, type OpenTrees } from "../lib/images/docker/store.ts";
import { openLayer } from "../lib/images/docker/trees.ts";
import type { FrozenDirectory } from "../lib/images/docker/frozen.ts";
import { DeviceMapperTrees } from "./docker_devicemapper.ts";
import { aufsByOverlay, overlay } from "./docker_wholes.ts";

const FORMS: Readonly<Record<string, DirectoryForm>> = {
  overlay2: { form: "overlay", path: (id) => `${id}/diff`, whole: overlay },
  aufs: { form: "aufs", path: (id) => `diff/${id}`, whole: aufsByOverlay },
  btrfs: {
    form: "none",
    path: (id) => `subvolumes/${id}`,
    whole: (home, [path], scope) => openLayer(home, path, scope),
  },
};

/** The drivers whose layers are directories, each with the function that opens their trees. */
const DIRECTORIES: readonly [name: string, open: OpenTrees][] = Object.entries(FORMS)
  .map(([name, form]) => [name, (home) => new DirectoryTrees(home, form)]);

/** The options for opening a store of Docker's. */
export interface DockerOptions {
  /** Docker's `data-root`. */
  readonly root: string;
  /** The storage driver; `undefined` for the only one with images in the store. */
  readonly driver: string | undefined;
  /** For devicemapper: the name or path of a pool on devices; by default the pool is in files. */
  readonly pool?: string;
}

/** Opens a store of Docker's. @throws as `DockerStore.open` */
export function openDockerStore({ root, driver, pool }: DockerOptions): DockerStore {
  const devicemapper = (home: FrozenDirectory) => new DeviceMapperTrees(home, pool);
  const drivers = new Map([...DIRECTORIES, ["devicemapper", devicemapper]]);
  const store = DockerStore.open(root, driver, drivers);
  if (pool === undefined || store.driver === "devicemapper") return store;
  store[Symbol.dispose]();
  throw new VeneerError("invalid argument", `${root} is of ${store.driver}, which has no pool`);
}
