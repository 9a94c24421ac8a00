/**
 * Docker's stores, read without a running Docker.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY, reopen } from "../ffi/files.ts";
import { tryCloneMount, tryProtectMount } from "../ffi/fsmount.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { type DirectoryForm, DirectoryTrees } from "../lib/images/docker/directory_trees.ts";
import type { FrozenDirectory } from "../lib/images/docker/frozen.ts";
import { DockerStore, type OpenTrees } from "../lib/images/docker/store.ts";
import { performPlan } from "../lib/mount/plan.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { unmountUnused } from "../lib/mount/unmount.ts";
import { openWithoutLinks } from "../lib/tree/confined.ts";
import { mountFeatures, takesLowersOneByOne } from "./overlay2/kernel.ts";
import { overlayStep } from "./overlay2/mount_data.ts";

const FORMS: Readonly<Record<string, DirectoryForm>> = {
  overlay2: { form: "overlay", path: (id) => `${id}/diff`, whole: overlay },
  aufs: { form: "aufs", path: (id) => `diff/${id}` },
  btrfs: { form: "none", path: (id) => `subvolumes/${id}` },
};

/**
 * Docker's drivers whose stores can be read, each with the function that opens its layers' trees.
 */
const DRIVERS = new Map<string, OpenTrees>(
  Object.entries(FORMS).map(([name, form]) => [name, (home) => new DirectoryTrees(home, form)]),
);

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

/**
 * Joins layers by an overlay without an upper directory, until `scope` ends; returns an open
 * directory of it. The overlay is used through a detached copy of its mount, which the kernel takes
 * down if the program is killed.
 */
function overlay(
  { path: home }: FrozenDirectory,
  paths: readonly string[],
  scope: DisposableStack,
): number {
  using attached = new DisposableStack();
  const target = Deno.realPathSync(Deno.makeTempDirSync({ dir: "/run", prefix: "veneer-docker-" }));
  attached.defer(() => Deno.removeSync(target));
  const step = overlayStep(
    { home, id: paths[0], target, lowers: paths, features: mountFeatures([]), volatile: false },
    takesLowersOneByOne(home) ? "new" : "old",
    true,
    () => {},
  );
  performPlan({ path: target, steps: [step] }, kernelMountPort);
  attached.defer(() => unmountUnused(target));
  const fd = attached.adopt(openWithoutLinks(target, O_RDONLY | O_DIRECTORY), close);
  const copy = scope.adopt(unwrap(tryCloneMount(fd), "open_tree", target), close);
  unwrap(tryProtectMount(copy), "mount_setattr", target);
  return scope.adopt(reopen(copy, O_RDONLY | O_DIRECTORY), close);
}
