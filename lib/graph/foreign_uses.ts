/**
 * Uses of a layer by other programs: mounts in any mount namespace that Veneer has no record of,
 * and detached mounts that a process still holds.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { LayerBackend } from "./backend.ts";
import { mountNamespace } from "../store/mount_namespace.ts";
import { describeUse, type LayerMarks, type LayerUse, usesOf } from "../mount/uses.ts";

/**
 * The mounts of a layer for which Veneer has no record. Callers have checked that it has none for
 * this layer.
 */
export function foreignUses(id: string, backend: LayerBackend): LayerUse[] {
  const marks = backend.marks(id);
  return [...usesOf(marks)].filter((use) => !isInheritedBind(use, marks));
}

/**
 * Whether a mount is a copy of a layer's read-only bind mount that another namespace inherited at
 * its creation. The mount point of a layer bound on itself cannot be removed, so its copies stay;
 * removing a mount point ends copies of other mounts.
 */
function isInheritedBind({ mount, namespace }: LayerUse, { mountPoints, tree }: LayerMarks) {
  return namespace !== mountNamespace() && mountPoints.includes(mount.mountPoint) &&
    mount.device === tree?.device && mount.root === tree.root;
}

/**
 * @throws {VeneerError} `in use` if another program has the layer mounted, or holds a mount of it
 */
export function refuseForeignUses(id: string, backend: LayerBackend): void {
  const [use] = foreignUses(id, backend);
  if (use !== undefined) throw mountedByOthers(id, backend, use);
  if (backend.isUpperInUse?.(id)) throw heldByOthers(id);
}

/**
 * Called before a writable mount: overlay's results are undefined if two mounts write to one
 * directory, and the kernel only warns of it.
 *
 * @throws {VeneerError} `in use`
 */
export function refuseSecondWriter(id: string, backend: LayerBackend): void {
  if (!backend.isUpperInUse?.(id)) return;
  const [use] = foreignUses(id, backend);
  throw use === undefined ? heldByOthers(id) : mountedByOthers(id, backend, use);
}

/** The error for a layer with another program's mount at its mount point. */
export function foreignMount(id: string, backend: LayerBackend): VeneerError {
  const uses = foreignUses(id, backend);
  const isHere = ({ mount, namespace }: LayerUse) =>
    namespace === mountNamespace() && mount.mountPoint === backend.mountPoint(id);
  const use = uses.find(isHere) ?? uses[0];
  if (use !== undefined) return mountedByOthers(id, backend, use);
  return new VeneerError(
    "in use",
    `layer ${id} was mounted at ${backend.mountPoint(id)} by somebody else just now; try again`,
  );
}

function mountedByOthers(id: string, backend: LayerBackend, use: LayerUse): VeneerError {
  const { mount, namespace } = use;
  const isForceable = namespace === mountNamespace() &&
    mount.mountPoint === backend.mountPoint(id);
  const message = `layer ${id} is mounted by somebody else at ${describeUse(use)}`;
  return isForceable
    ? new VeneerError("in use", message, { remedy: { kind: "umount foreign", ids: [id] } })
    : new VeneerError("in use", `${message}; unmount it there first`);
}

const heldByOthers = (id: string) =>
  new VeneerError(
    "in use",
    `layer ${id} is in use by a process that holds a detached mount of it; end that process first`,
  );
