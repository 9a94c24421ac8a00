/**
 * Mounting layers, and counting who uses them.
 *
 * `get` and `put` are a pair: the first `get` carries the driver's plan out, the last `put` takes it down.
 * The count is kept where every process sees it (`run_state.ts`) and believed only as far as the kernel
 * confirms it: a count without a mount, left by a killed process or by an administrator's `umount`, is
 * stale. A mount without a count, left by a process killed between the two, is adopted by the next `get` and
 * taken down by `put`, removal or `cleanup`. One that is not whole is taken down by the next `get`, counted or not.
 *
 * A transfer that has to mount a layer is no user of it: it counts nothing, and its hold on the layer's
 * content (`RunState.use`), which ends with its process, keeps the mount. The last of the transfers and users
 * takes it down; after transfers that were killed, whoever opens the store next.
 *
 * @module
 */
import { MNT_DETACH } from "../../ffi/mount.ts";
import { VeneerError } from "../errors.ts";
import type { GetOptions, LayerBackend } from "../graph_driver.ts";
import { isNamespaceAlive, usersOf } from "../lock_holders.ts";
import {
  type MountPlan,
  type MountPort,
  mountsSomething,
  performPlan,
  undoPlan,
} from "../mount_plan.ts";
import { isMountPoint, mountAt } from "../mountinfo.ts";
import { withPrivateHome } from "../private_home.ts";
import {
  type LayerLock,
  mountNamespace,
  type References,
  type RunState,
  UNUSED,
} from "../run_state.ts";

/** The mounts of one store. Every method wants the layer's lock held by the caller. */
export class MountedLayers {
  constructor(
    readonly backend: LayerBackend,
    readonly state: RunState,
    readonly port: MountPort,
    readonly warn: (message: string) => void,
  ) {}

  /**
   * Mounts the layer or counts one more user; returns the path of its root.
   *
   * @throws {VeneerError} `in use` where it is mounted read-only and wanted writable, or the other way round
   */
  get(id: string, lock: LayerLock, options: GetOptions): string {
    const readOnly = options.readOnly ?? false;
    if (this.backend.isHalfMounted?.(id) && this.unmountUncounted(id)) lock.references = UNUSED;
    const current = this.confirmed(id, lock.references);
    if (current.count > 0) {
      if (current.readOnly !== readOnly) throw otherMode(id, current.readOnly);
      lock.references = { ...current, count: current.count + 1 };
      return this.backend.plan(id, { ...options, readOnly: current.readOnly }).path;
    }
    const plan = this.backend.plan(id, options);
    if (isMountPoint(this.backend.mountPoint(id))) {
      const isReadOnly = isMountedReadOnly(this.backend.mountPoint(id));
      if (isReadOnly !== readOnly) throw otherMode(id, isReadOnly);
      lock.references = { count: 1, namespace: mountNamespace(), readOnly: isReadOnly };
    } else if (!mountsSomething(plan)) {
      withPrivateHome(this.backend.home, this.state, () => performPlan(plan, this.port));
      lock.references = { count: 1, namespace: "", readOnly };
    } else {
      if (!readOnly) this.backend.home.requireWritable();
      lock.references = { count: 1, namespace: mountNamespace(), readOnly };
      this.#mount(plan, lock);
    }
    return plan.path;
  }

  /**
   * Mounts the layer for a transfer, or takes the mount that is there, read-only or not; returns the path of
   * its root. The caller holds the layer's content, and calls {@linkcode endTransfers} at the end.
   */
  getForTransfer(id: string, lock: LayerLock, options: GetOptions): string {
    const readOnly = options.readOnly ?? false;
    if (this.backend.isHalfMounted?.(id) && this.unmountUncounted(id)) lock.references = UNUSED;
    const current = this.confirmed(id, lock.references);
    if (current.count > 0) return this.backend.plan(id, { readOnly: current.readOnly }).path;
    const plan = this.backend.plan(id, options);
    const mountPoint = this.backend.mountPoint(id);
    if (isMountPoint(mountPoint)) {
      return this.backend.plan(id, { readOnly: isMountedReadOnly(mountPoint) }).path;
    }
    if (mountsSomething(plan)) {
      lock.references = { count: 0, namespace: mountNamespace(), readOnly };
      this.#mount(plan, lock);
    } else withPrivateHome(this.backend.home, this.state, () => performPlan(plan, this.port));
    return plan.path;
  }

  /**
   * Takes down what transfers mounted, unless a user counts on it now. The caller knows that no transfer
   * holds the layer any more.
   *
   * @returns false where it is mounted in another mount namespace, out of reach from here
   */
  endTransfers(id: string, lock: LayerLock): boolean {
    const { count, namespace, readOnly } = lock.references;
    if (count > 0 || namespace === "") return true;
    if (isMountPoint(this.backend.mountPoint(id))) this.#unmount(id, readOnly);
    else if (namespace !== mountNamespace() && isNamespaceAlive(namespace)) return false;
    else this.#undoUnmounted(id, readOnly);
    lock.references = UNUSED;
    return true;
  }

  /** Undoes what a killed process did of a plan before it mounted, such as activating a device. */
  #undoUnmounted(id: string, readOnly: boolean): void {
    const plan = this.backend.plan(id, { readOnly });
    const steps = plan.steps.filter(({ kind }) => kind === "prepare" || kind === "directory");
    undoPlan({ ...plan, steps }, this.port, (target, error) => this.#warnBusy(target, error));
  }

  #mount(plan: MountPlan, lock: LayerLock): void {
    try {
      withPrivateHome(this.backend.home, this.state, () => performPlan(plan, this.port));
    } catch (error) {
      lock.references = UNUSED;
      throw error;
    }
  }

  /**
   * Counts one user less, and unmounts for the last; transfers go on with the mount.
   *
   * @throws {VeneerError} `failed precondition` where nobody uses the layer
   */
  put(id: string, lock: LayerLock): void {
    const current = this.confirmed(id, lock.references);
    const isTransferred = current.count <= 1 && this.state.isTransferred(id);
    if (current.count > 1 || current.count === 1 && isTransferred) {
      lock.references = { ...current, count: current.count - 1 };
    } else if (
      current.count === 1 || !isTransferred && isMountPoint(this.backend.mountPoint(id))
    ) {
      this.#unmount(id, current.readOnly);
      lock.references = UNUSED;
    } else {
      if (!isTransferred) lock.references = UNUSED;
      throw new VeneerError("failed precondition", `layer ${id} is not mounted`);
    }
  }

  /** Takes the layer's mount down. A busy one is detached, with a warning. */
  #unmount(id: string, readOnly: boolean): void {
    undoPlan(
      this.backend.plan(id, { readOnly }),
      this.port,
      (target, error) => this.#warnBusy(target, error),
    );
  }

  /** The same for a layer that is to be removed and may be too damaged to have a plan. */
  unmountUncounted(id: string): boolean {
    const mountPoint = this.backend.mountPoint(id);
    if (!isMountPoint(mountPoint)) return false;
    this.backend.settle?.(id);
    this.port.unmount(mountPoint, MNT_DETACH);
    return true;
  }

  #warnBusy(target: string, error: Error): void {
    const users = usersOf(target);
    const who = users.length > 0 ? ` (${users.join(", ")})` : "";
    this.warn(`${error.message}; detached: it goes when its last user does${who}`);
  }

  /** How often the layer is in use, as far as that is true. */
  confirmed(id: string, references: References): References {
    const { count, namespace } = references;
    if (count === 0 || namespace === "" || isMountPoint(this.backend.mountPoint(id))) {
      return references;
    }
    if (namespace !== mountNamespace() && isNamespaceAlive(namespace)) return references;
    return UNUSED;
  }
}

const isMountedReadOnly = (path: string) => mountAt(path)?.options.includes("ro") ?? false;

function otherMode(id: string, isReadOnly: boolean): VeneerError {
  const [is, wanted] = isReadOnly ? ["read-only", "writable"] : ["writable", "read-only"];
  return new VeneerError(
    "in use",
    `layer ${id} is in use ${is} and was wanted ${wanted}; \`veneer umount ${id}\` first`,
  );
}
