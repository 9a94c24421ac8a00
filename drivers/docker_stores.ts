/**
 * Docker's stores, read without a running Docker.
 *
 * @module
 */
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

/**
 * Docker's drivers whose stores can be read, each with the function that opens its layers' trees.
 */
const DRIVERS: ReadonlyMap<string, OpenTrees> = new Map([
  ...Object.entries(FORMS).map(([name, form]): [string, OpenTrees] => [
    name,
    (home) => new DirectoryTrees(home, form),
  ]),
  ["devicemapper", (home: FrozenDirectory) => new DeviceMapperTrees(home)],
]);

/** The options for opening a store of Docker's. */
export interface DockerOptions {
  /** Docker's `data-root`. */
  readonly root: string;
  /** The storage driver; `undefined` for the only one with images in the store. */
  readonly driver: string | undefined;
}

/** Opens a store of Docker's. @throws as `DockerStore.open` */
export function openDockerStore({ root, driver }: DockerOptions): DockerStore {
  return DockerStore.open(root, driver, DRIVERS);
}
