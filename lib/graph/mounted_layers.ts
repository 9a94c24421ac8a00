/**
 * Mounting layers, and counting who uses them.
 *
 * `get` and `put` are a pair: the first `get` carries the driver's plan out, the last `put` takes it down.
 * The count is kept where every process sees it (`run_state.ts`) and believed only as far as the kernel
 * confirms it: a count without a mount, left by a killed process or by an administrator's `umount`, is
 * stale. A mount without a count, left by a process killed between the two, is adopted by the next `get` and
 * taken down by `put`, removal or `cleanup`.
 *
 * @module
 */
import { MNT_DETACH } from "../../ffi/mount.ts";
import { VeneerError } from "../errors.ts";
import type { GetOptions, LayerBackend } from "../graph_driver.ts";
import { isNamespaceAlive, usersOf } from "../lock_holders.ts";
import { type MountPort, performPlan, undoPlan } from "../mount_plan.ts";
import { isMountPoint } from "../mountinfo.ts";
import { makeHomePrivate } from "../private_home.ts";
import { type LayerLock, mountNamespace, type References, type RunState } from "../run_state.ts";

/** The mounts of one store. Every method wants the layer's lock held by the caller. */
export class MountedLayers {
  #homeIsPrivate = false;

  constructor(
    readonly backend: LayerBackend,
    readonly state: RunState,
    readonly port: MountPort,
    readonly warn: (message: string) => void,
  ) {}

  /** Mounts the layer or counts one more user; returns the path of its root. */
  get(id: string, lock: LayerLock, options: GetOptions): string {
    const plan = this.backend.plan(id, options);
    const { count, namespace } = this.confirmed(id, lock.references);
    if (plan.steps.length === 0) {
      lock.references = { count: count + 1, namespace: "" };
    } else if (count > 0) {
      lock.references = { count: count + 1, namespace };
    } else {
      lock.references = { count: 1, namespace: mountNamespace() };
      if (!isMountPoint(this.backend.mountPoint(id))) this.#mount(id, lock, options);
    }
    return plan.path;
  }

  #mount(id: string, lock: LayerLock, options: GetOptions): void {
    try {
      if (!this.#homeIsPrivate) makeHomePrivate(this.backend.home, this.state);
      this.#homeIsPrivate = true;
      performPlan(this.backend.plan(id, options), this.port);
    } catch (error) {
      lock.references = { count: 0, namespace: "" };
      throw error;
    }
  }

  /**
   * Counts one user less, and unmounts for the last.
   *
   * @throws {VeneerError} `failed precondition` where nobody uses the layer
   */
  put(id: string, lock: LayerLock): void {
    const { count, namespace } = this.confirmed(id, lock.references);
    if (count > 1) {
      lock.references = { count: count - 1, namespace };
    } else if (count === 1 || isMountPoint(this.backend.mountPoint(id))) {
      this.unmount(id);
      lock.references = { count: 0, namespace: "" };
    } else {
      lock.references = { count: 0, namespace: "" };
      throw new VeneerError("failed precondition", `layer ${id} is not mounted`);
    }
  }

  /** Takes the layer's mount down, whoever counts on it. A busy one is detached, with a warning. */
  unmount(id: string): void {
    undoPlan(
      this.backend.plan(id, {}),
      this.port,
      (target, error) => this.#warnBusy(target, error),
    );
  }

  /** The same for a layer that is to be removed and may be too damaged to have a plan. */
  unmountUncounted(id: string): boolean {
    const mountPoint = this.backend.mountPoint(id);
    if (!isMountPoint(mountPoint)) return false;
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
    return { count: 0, namespace: "" };
  }
}
