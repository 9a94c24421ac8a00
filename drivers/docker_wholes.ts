/**
 * Joining the layers of a Docker store into one tree, for drivers whose layers contain only their
 * own changes: by an overlay without an upper directory. It is used through a detached copy of its
 * mount, which the kernel takes down if the program is killed.
 *
 * @module
 */
import { encode } from "../ffi/cstring.ts";
import { type EntryName, entryName } from "../ffi/entry_name.ts";
import { EEXIST } from "../ffi/errno.ts";
import {
  close,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openat2,
  reopen,
  RESOLVE_INSIDE,
} from "../ffi/files.ts";
import { tryCloneProtected } from "../ffi/fsmount.ts";
import { mount } from "../ffi/mount.ts";
import { mknodat, S_IFCHR, tryMkdirat } from "../ffi/names.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { openLayer } from "../lib/images/docker/trees.ts";
import type { FrozenDirectory } from "../lib/images/docker/frozen.ts";
import { performPlan } from "../lib/mount/plan.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { unmountUnused } from "../lib/mount/unmount.ts";
import { openWithoutLinks } from "../lib/tree/confined.ts";
import { upperChanges } from "../lib/tree/upper_changes.ts";
import { mountFeatures, takesLowersOneByOne } from "./overlay2/kernel.ts";
import { overlayStep } from "./overlay2/mount_data.ts";

/** Joins layers of overlay2, uppermost first, until `scope` ends; returns an open directory. */
export function overlay(
  { path: home }: FrozenDirectory,
  paths: readonly string[],
  scope: DisposableStack,
): number {
  using attached = new DisposableStack();
  const api = takesLowersOneByOne(home) ? "new" : "old";
  return overlayOf(home, paths, api, makeTarget(attached), scope);
}

/**
 * The same for layers of aufs, on a kernel without aufs. Below each layer lies a directory with
 * overlay's whiteouts for the entries that the layer deletes. The result also has the files that
 * are aufs's own whiteouts.
 */
export function aufsByOverlay(
  home: FrozenDirectory,
  paths: readonly string[],
  scope: DisposableStack,
): number {
  using attached = new DisposableStack();
  const room = makeTarget(attached);
  mount({ source: "veneer", target: room, type: "tmpfs", data: "mode=0700" });
  attached.defer(() => unmountUnused(room));
  const lowers: string[] = [];
  {
    using opened = new DisposableStack();
    const layers = paths.map((path) => openLayer(home, path, opened));
    const rooms = opened.adopt(openWithoutLinks(room, O_PATH | O_DIRECTORY), close);
    for (const [i, path] of paths.entries()) {
      // Short names: all of them must fit into a page for mount(2).
      Deno.symlinkSync(`${home.path}/${path}`, `${room}/${lowers.length}`);
      lowers.push(`${lowers.length}`);
      const marks = `${lowers.length}`;
      if (markDeletions(rooms, marks, layers[i], layers.slice(i + 1))) lowers.push(marks);
    }
  }
  const api = takesLowersOneByOne(room) ? "new" : "old";
  return overlayOf(room, lowers, api, makeTarget(attached), scope);
}

/** A new directory to mount on, below a path without links. */
function makeTarget(attached: DisposableStack): string {
  const target = Deno.realPathSync(Deno.makeTempDirSync({ dir: "/run", prefix: "veneer-docker-" }));
  attached.defer(() => Deno.removeSync(target));
  return target;
}

function overlayOf(
  home: string,
  lowers: readonly string[],
  api: "new" | "old",
  target: string,
  scope: DisposableStack,
): number {
  const step = overlayStep(
    { home, id: lowers[0], target, lowers, features: mountFeatures([]), volatile: false },
    api,
    true,
    () => {},
  );
  performPlan({ path: target, steps: [step] }, kernelMountPort);
  using attached = new DisposableStack();
  attached.defer(() => unmountUnused(target));
  const fd = attached.adopt(openWithoutLinks(target, O_RDONLY | O_DIRECTORY), close);
  const copy = scope.adopt(unwrap(tryCloneProtected(fd), "open_tree", target), close);
  return scope.adopt(reopen(copy, O_RDONLY | O_DIRECTORY), close);
}

/**
 * Makes a directory with a whiteout for each entry that a layer deletes; `false` if there are none.
 */
function markDeletions(
  room: number,
  name: string,
  layer: number,
  lowers: readonly number[],
): boolean {
  if (lowers.length === 0) return false;
  let isMade = false;
  for (
    const { kind, path } of upperChanges(
      layer,
      lowers.map((lower) => () => reopen(lower, O_RDONLY | O_DIRECTORY)),
      "aufs",
    )
  ) {
    if (kind !== "D") continue;
    isMade = true;
    mark(room, [name, ...path.slice(1).split("/")].map((part) => entryName(encode(part))));
  }
  return isMade;
}

/** Makes an overlay whiteout, a device 0:0, and the directories above it. */
function mark(room: number, path: readonly EntryName[]): void {
  let directory = reopen(room, O_PATH | O_DIRECTORY);
  try {
    for (const name of path.slice(0, -1)) {
      const made = tryMkdirat(directory, name, 0o755);
      if (made !== -EEXIST) unwrap(made, "mkdirat", name);
      const below = openat2(directory, name, O_PATH | O_DIRECTORY, RESOLVE_INSIDE);
      close(directory);
      directory = below;
    }
    mknodat(directory, path.at(-1)!, S_IFCHR);
  } finally {
    close(directory);
  }
}
