/**
 * The mounts of a snapshot's layer in any mount namespace.
 *
 * @module
 */
import { tryLstatMount } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { type MountInfo, readMountInfo } from "../mount/mountinfo.ts";
import { mountNamespace } from "../store/mount_namespace.ts";
import type { IsNoUse } from "./backend.ts";
import { describeUse, type LayerUse, mountsEverywhere } from "../mount/uses.ts";

/** A directory that is mounted if its layer is mounted. */
export interface LayerDirectory {
  /** Its path. */
  readonly path: string;
  /**
   * The end of the path, `<layer>/fs`, which no other layer has. Lines of mountinfo without it are
   * skipped.
   */
  readonly tail: string;
}

/**
 * The bind mounts of a directory or of directories in it, and the mounts for which `shows` returns
 * true.
 */
export function mountsOfDirectory(
  { path, tail }: LayerDirectory,
  shows: (mount: MountInfo) => boolean,
): LayerUse[] {
  const candidates = [...mountsEverywhere(tail)];
  if (candidates.length === 0) return [];
  const own = rootOf(path);
  const binds = (mount: MountInfo) =>
    own === undefined
      ? `${mount.root}/`.includes(`/${tail}/`)
      : mount.device === own.device && `${mount.root}/`.startsWith(`${own.root}/`);
  return candidates.filter(({ mount }) => shows(mount) || binds(mount));
}

/**
 * Refuses a layer that is mounted.
 *
 * @param what the layer's name for the message, such as `layer x`
 * @throws {VeneerError} `in use` with the first mount's path, its namespace, and a process in that
 */
export function refuseUses(what: string, uses: Iterable<LayerUse>, isNoUse: IsNoUse): void {
  const found = Array.from(uses).filter((use) => !isNoUse(use));
  if (found.length === 0) return;
  const here = mountNamespace();
  const use = found.find(({ namespace }) => namespace === here) ?? found[0];
  const others = found.length > 1 ? ` and at ${found.length - 1} more` : "";
  const enter = use.namespace === here ? "" : `nsenter --mount --target ${use.pid} `;
  throw new VeneerError(
    "in use",
    `${what} is mounted at ${
      describeUse(use)
    }${others}; \`${enter}umount ${use.mount.mountPoint}\` first`,
  );
}

/**
 * The device and root that a bind mount of a directory would have. `undefined` on kernels before
 * 5.8, which do not report a directory's mount.
 */
function rootOf(path: string): { device: string; root: string } | undefined {
  const id = tryLstatMount(path)?.mountId ?? 0n;
  if (id === 0n) return undefined;
  const mount = readMountInfo().find((mount) => BigInt(mount.id) === id);
  if (mount === undefined) return undefined;
  const { device, root, mountPoint } = mount;
  const below = mountPoint === "/" ? path : path.slice(mountPoint.length);
  return { device, root: root === "/" ? below : root + below };
}
