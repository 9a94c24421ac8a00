/**
 * Mounting layers, and counting their users.
 *
 * `get` and `put` are a pair: the first `get` carries the driver's plan out, the last `put` takes
 * it down. The record of a mount is kept in a file for all processes (`mount_record.ts`) and is
 * valid only as far as the kernel confirms it:
 *
 * - A count without a mount, left by a killed process or by an administrator's `umount`, is stale.
 * - A mount whose device number the record does not have yet was left by a killed command. The next
 *   command on the layer takes it down.
 * - A mount without a record was made by another program. It is left alone, unless the caller
 *   forces it.
 *
 * A transfer that has to mount a layer is not a counted user. Its hold on the layer's content
 * (`RunState.use`), which ends with its process, keeps the mount. The last of the transfers and
 * users takes it down; after killed transfers, the next opening of the store does.
 *
 * @module
 */
import { EBUSY, SyscallError } from "../../ffi/errno.ts";
import { MNT_DETACH } from "../../ffi/mount.ts";
import { VeneerError } from "../base/errors.ts";
import type { ForeignUses } from "../base/opened.ts";
import { formatIdMap } from "../base/id_maps.ts";
import type { LayerBackend } from "./backend.ts";
import type { GetOptions, PutOptions } from "./driver.ts";
import { isNamespaceAlive, usersOf } from "../base/processes.ts";
import type { Warn } from "../base/warn.ts";
import {
  type MountPlan,
  type MountPort,
  mountsSomething,
  performPlan,
  undoPlan,
} from "../mount/plan.ts";
import { isMountPoint, mountAt, mountedDevice, mountsBelow } from "../mount/mountinfo.ts";
import { releaseHomeAtEnd, withPrivateHome } from "../store/private_home.ts";
import type { LayerLock } from "../store/layer_lock.ts";
import { mountNamespace } from "../store/mount_namespace.ts";
import { checkRecordable, type References, UNUSED } from "../store/mount_record.ts";
import type { RunState } from "../store/run_state.ts";
import { explainLabel } from "../mount/selinux.ts";
import { describeUse, usesOf } from "../mount/uses.ts";
import { foreignMount, refuseForeignUses, refuseSecondWriter } from "./foreign_uses.ts";

/** The properties of a mount on which all its users must agree. */
type Terms = Pick<References, "readOnly" | "label" | "volatile" | "idMap">;

/** The mounts of one store. The caller of every method holds the layer's lock. */
export class MountedLayers {
  constructor(
    readonly backend: LayerBackend,
    readonly state: RunState,
    readonly port: MountPort,
    readonly warn: Warn,
    readonly foreignUses: ForeignUses = "refuse",
  ) {}

  /** Whether this is a service that has the store to itself: see {@linkcode ForeignUses}. */
  get isAlone(): boolean {
    return this.foreignUses === "ignore";
  }

  /**
   * Mounts the layer or counts one more user; returns the path of its root.
   *
   * @param hasChildren if true, the layer is mounted read-only, and an existing mount is used as it
   * is
   * @param port by which it is mounted; one that maps ids for the maps of `options`
   * @throws {VeneerError} `in use` if it is mounted with other properties than requested, or by
   * another program
   */
  get(
    id: string,
    lock: LayerLock,
    options: GetOptions,
    hasChildren = false,
    port = this.port,
  ): string {
    const asked = termsOf(options);
    checkRecordable(asked);
    const mostly = hasChildren ? { ...asked, readOnly: true, volatile: false } : asked;
    const current = this.#reconciled(id, lock);
    if (current.count > 0 || current.namespace !== "") {
      this.#requireHere(id, current);
      if (!this.isAlone) requireTerms(id, current, current.readOnly ? mostly : asked);
      lock.references = { ...current, count: current.count + 1 };
      return this.#planned(id, current).path;
    }
    if (isMountPoint(this.backend.mountPoint(id))) {
      this.#adopt(id, lock, asked);
      return this.#planned(id, lock.references).path;
    }
    const use = { ...mostly, count: 1 };
    return this.#mount(id, lock, { ...options, readOnly: mostly.readOnly }, use, port);
  }

  /**
   * Mounts the layer for a transfer, or uses an existing mount, read-only or not; returns the path
   * of its root. The caller holds the layer's content, and calls {@linkcode endTransfers} at the
   * end.
   *
   * @throws {VeneerError} `in use` if it is mounted with ids mapped, which a transfer must not see
   */
  getForTransfer(id: string, lock: LayerLock, options: GetOptions): string {
    const current = this.#reconciled(id, lock);
    if (current.count > 0 || current.namespace !== "") {
      this.#requireHere(id, current);
      requireTerms(id, { ...UNUSED, idMap: current.idMap }, UNUSED);
      return this.#planned(id, current).path;
    }
    const mountPoint = this.backend.mountPoint(id);
    if (isMountPoint(mountPoint)) {
      return this.backend.plan(id, { readOnly: isMountedReadOnly(mountPoint) }).path;
    }
    return this.#mount(id, lock, options, { ...termsOf(options), count: 0 });
  }

  /**
   * Returns mount triples for another program. If the driver itself must mount something for them,
   * that is recorded without a user, and taken down by removal and `cleanup`.
   */
  handOut<T>(id: string, lock: LayerLock, options: GetOptions, mounts: () => T): T {
    const current = this.#reconciled(id, lock);
    const isMounted = current.namespace !== "" || isMountPoint(this.backend.mountPoint(id));
    if (current.count > 0 || isMounted) return mounts();
    lock.references = { ...termsOf(options), count: 0, ...this.#here(id), device: "" };
    try {
      const result = mounts();
      this.#recordDevice(id, lock);
      return result;
    } finally {
      if (lock.references.device === "") lock.references = UNUSED;
    }
  }

  /**
   * Carries the layer's plan out; records written before and after it mark the mount as Veneer's.
   */
  #mount(
    id: string,
    lock: LayerLock,
    options: GetOptions,
    use: Terms & Pick<References, "count">,
    port = this.port,
  ): string {
    const { home } = this.backend;
    const plan = home.root.hold(() => {
      const plan = this.backend.plan(id, options);
      if (mountsSomething(plan) && !use.readOnly) {
        home.requireWritable();
        refuseSecondWriter(id, this.backend);
      }
      return plan;
    });
    if (!mountsSomething(plan)) {
      withPrivateHome(home, this.state, () => performPlan(plan, this.port));
      if (use.count > 0) lock.references = { ...UNUSED, ...use };
      return plan.path;
    }
    lock.references = { ...use, ...this.#here(id), device: "" };
    try {
      withPrivateHome(home, this.state, () => home.root.hold(() => performPlan(plan, port)));
    } catch (error) {
      lock.references = UNUSED;
      this.#releaseHome();
      explainLabel(error, id, options.label);
      throw error;
    }
    this.#recordDevice(id, lock);
    return plan.path;
  }

  #here(id: string): Pick<References, "namespace" | "target"> {
    return { namespace: mountNamespace(), target: this.backend.mountPoint(id) };
  }

  #recordDevice(id: string, lock: LayerLock): void {
    const device = mountedDevice(this.backend.mountPoint(id));
    if (device !== undefined) lock.references = { ...lock.references, device };
  }

  /** Counts another program's mount as the engine's, if foreign uses are ignored. */
  #adopt(id: string, lock: LayerLock, asked: Terms): void {
    if (!this.isAlone) throw foreignMount(id, this.backend);
    const readOnly = isMountedReadOnly(this.backend.mountPoint(id));
    lock.references = { ...asked, readOnly, count: 1, ...this.#here(id), device: "" };
    this.#recordDevice(id, lock);
  }

  /** Makes the home's own mount, for a service, which keeps it until `cleanup`. */
  keepHome(): void {
    withPrivateHome(this.backend.home, this.state, () => {});
  }

  /** Counts one user of a layer if something is mounted at its place, else none. */
  recount(id: string, lock: LayerLock): void {
    if (isMountPoint(this.backend.mountPoint(id))) this.#adopt(id, lock, termsOf({}));
    else lock.references = UNUSED;
  }

  /**
   * Counts one user less, and unmounts after the last; running transfers keep the mount.
   *
   * @throws {VeneerError} `failed precondition` if the layer is not mounted, `in use` if the mount
   * is busy or was made by another program
   */
  put(id: string, lock: LayerLock, { lazy = false, force = false }: PutOptions = {}): void {
    const current = this.#reconciled(id, lock);
    const isTransferred = current.count <= 1 && this.state.isTransferred(id);
    if (current.count > 1 || (current.count === 1 && isTransferred)) {
      lock.references = { ...current, count: current.count - 1 };
    } else if (current.count === 1) {
      this.#requireHere(id, current);
      const detach = !lazy ? "never" : this.isAlone ? "told" : "silent";
      // A base layer may need no mount of its own, and was still below the home's.
      if (current.namespace !== "") this.#unmount(id, current.readOnly, detach);
      else this.#releaseHome();
      lock.references = UNUSED;
    } else if (current.namespace !== "") {
      throw notMounted(id);
    } else if (isMountPoint(this.backend.mountPoint(id))) {
      if (!force && !this.isAlone) throw foreignMount(id, this.backend);
      this.#unmountPlace(id, lazy);
    } else {
      throw notMounted(id);
    }
  }

  /**
   * Takes down the mount of transfers, unless the layer has users now. The caller has checked that
   * no transfer holds the layer any more.
   *
   * @returns false if it is mounted in another mount namespace, out of reach from here
   */
  endTransfers(id: string, lock: LayerLock): boolean {
    const { count, namespace, readOnly } = this.#reconciled(id, lock);
    if (count > 0 || namespace === "") return true;
    if (namespace !== mountNamespace()) return false;
    this.#unmount(id, readOnly, "told");
    lock.references = UNUSED;
    return true;
  }

  /**
   * Ensures that the layer is unused, before it is removed or applied to: a mount without users is
   * taken down.
   *
   * @throws {VeneerError} `in use` if it has users, or another program uses it
   */
  requireUnused(id: string, lock: LayerLock): void {
    const current = this.requireNoUsers(id, lock);
    if (current.namespace !== "") {
      this.#requireHere(id, current);
      this.#takeDown(id, current.readOnly);
      lock.references = UNUSED;
    }
    if (this.isAlone) this.#takeDown(id, false);
    else refuseForeignUses(id, this.backend);
  }

  /** Forgets the counted users; their mount is then one that no one uses. */
  endUses(id: string, lock: LayerLock): void {
    const current = this.#reconciled(id, lock);
    lock.references = current.namespace === "" ? UNUSED : { ...current, count: 0 };
  }

  /** @throws {VeneerError} `in use` if the layer has counted users */
  requireNoUsers(id: string, lock: LayerLock): References {
    const current = this.#reconciled(id, lock);
    if (current.count > 0) throw inUse(id, current.count, this.backend.mountPoint(id));
    return current;
  }

  /**
   * Takes down an unused mount, for `cleanup`.
   *
   * @returns the state: no mount, one in use, another program's, or one that was taken down
   */
  clean(id: string, lock: LayerLock): "nothing" | "in use" | "foreign" | "unmounted" {
    const mountPoint = this.backend.mountPoint(id);
    const wasMounted = isMountPoint(mountPoint);
    const current = this.#reconciled(id, lock);
    if (current.count > 0) return "in use";
    if (current.namespace !== "") {
      if (current.namespace !== mountNamespace() || this.state.isTransferred(id)) return "in use";
      this.#takeDown(id, current.readOnly);
      lock.references = UNUSED;
      return "unmounted";
    }
    if (!isMountPoint(mountPoint)) return wasMounted ? "unmounted" : "nothing";
    if (!this.isAlone) return "foreign";
    this.#takeDown(id, false);
    return "unmounted";
  }

  /**
   * The record after a comparison with the kernel: a mount left by a killed command is taken down,
   * and the record of a lost mount is cleared.
   */
  #reconciled(id: string, lock: LayerLock): References {
    const { namespace, device, readOnly } = lock.references;
    if (namespace === "") return lock.references;
    if (namespace === mountNamespace()) {
      if (device !== "" && !this.backend.isHalfMounted?.(id)) {
        if (this.#isOurs(id, lock.references)) return lock.references;
        if (!isMountPoint(this.backend.mountPoint(id))) this.#undoUnmounted(id, readOnly);
      } else this.#takeDown(id, readOnly);
    } else if (this.#elsewhere(id, lock.references) !== undefined) return lock.references;
    return lock.references = UNUSED;
  }

  /** Whether the mount at the recorded place is the recorded one. */
  #isOurs(id: string, { target, device }: References): boolean {
    return device !== "" && mountedDevice(target || this.backend.mountPoint(id)) === device;
  }

  /** The layer's mount in another mount namespace, if it is still there. */
  #elsewhere(id: string, { namespace, target }: References) {
    const mountPoints = [target || this.backend.mountPoint(id)];
    for (const use of usesOf({ mountPoints })) if (use.namespace === namespace) return use;
    return undefined;
  }

  /**
   * @throws {VeneerError} `in use` if the layer is mounted in another mount namespace, out of reach
   * from here
   */
  #requireHere(id: string, references: References): void {
    const { namespace } = references;
    if (namespace === "" || namespace === mountNamespace()) return;
    const use = this.#elsewhere(id, references);
    throw new VeneerError(
      "in use",
      `layer ${id} is mounted in another mount namespace, ${
        use ? `at ${describeUse(use)}` : namespace
      }; use it there`,
    );
  }

  /** The plan of an existing mount. */
  #planned(id: string, { readOnly, label, volatile }: References): MountPlan {
    const options = volatile ? ["volatile"] : [];
    return this.backend.plan(id, { readOnly, label: label || undefined, options });
  }

  /**
   * Takes the layer's mount down, by its plan.
   *
   * @param detach whether a busy mount is detached: never, silently, or with a warning
   * @throws {VeneerError} `in use` if it is busy and not detached
   */
  #unmount(id: string, readOnly: boolean, detach: "never" | "silent" | "told"): void {
    this.backend.home.root.hold(() =>
      undoPlan(this.backend.plan(id, { readOnly }), this.port, (target, error) => {
        if (detach === "never") throw error.errno === EBUSY ? busy(id, target) : error;
        if (detach === "told") this.#warnBusy(target, error);
      })
    );
    this.#releaseHome();
  }

  /** Takes down the uppermost mount at the layer's mount point, which is not from its plan. */
  #unmountPlace(id: string, lazy: boolean): void {
    const mountPoint = this.backend.mountPoint(id);
    const readOnly = isMountedReadOnly(mountPoint);
    this.backend.beforeUnmount?.(id);
    try {
      this.port.unmount(mountPoint, lazy ? MNT_DETACH : 0);
    } catch (error) {
      throw error instanceof SyscallError && error.errno === EBUSY ? busy(id, mountPoint) : error;
    }
    if (!isMountPoint(mountPoint)) this.#undoUnmounted(id, readOnly);
    this.#releaseHome();
  }

  /**
   * Takes down any mount at the layer's mount point; the layer may be too damaged to have a plan.
   */
  #takeDown(id: string, readOnly: boolean): void {
    const mountPoint = this.backend.mountPoint(id);
    if (isMountPoint(mountPoint)) {
      this.backend.beforeUnmount?.(id);
      this.port.unmount(mountPoint, MNT_DETACH);
    }
    this.#undoUnmounted(id, readOnly);
    this.#releaseHome();
  }

  /**
   * Undoes the rest of a plan whose mount is gone, such as an active device or the mount point.
   * Removing the mount point also ends copies of the mount in other namespaces.
   */
  #undoUnmounted(id: string, readOnly: boolean): void {
    try {
      const plan = this.backend.plan(id, { readOnly });
      const steps = plan.steps.filter(({ kind }) => kind === "prepare" || kind === "directory");
      undoPlan({ ...plan, steps }, this.port, (target, error) => this.#warnBusy(target, error));
    } catch (error) {
      if (!(error instanceof VeneerError)) throw error;
      // A damaged layer has no plan, and nothing then prevents its removal.
    }
  }

  /**
   * Releases the home's own mount, if nothing is mounted below it, so that its disk can be
   * unmounted. A service keeps it: containers that are being started see mounts come and go.
   */
  #releaseHome(): void {
    if (!this.isAlone) releaseHomeAtEnd(this.backend.home, this.state, this.warn);
  }

  #warnBusy(target: string, error: Error): void {
    const users = usersOf(target);
    const who = users.length > 0 ? ` (${users.join(", ")})` : "";
    this.warn(`${error.message}; detached: it ends with its last user${who}`);
  }

  /** The record as far as the kernel confirms it. For listings: changes nothing. */
  confirmed(id: string, references: References): References {
    const { count, namespace } = references;
    if (count === 0 || namespace === "") return references;
    if (namespace !== mountNamespace()) return isNamespaceAlive(namespace) ? references : UNUSED;
    return this.#isOurs(id, references) ? references : UNUSED;
  }
}

const isMountedReadOnly = (path: string) => mountAt(path)?.options.includes("ro") ?? false;

function termsOf({ readOnly = false, label = "", options = [], idMaps }: GetOptions): Terms {
  const volatile = options.includes("volatile") && !readOnly;
  const idMap = idMaps === undefined
    ? ""
    : `${formatIdMap(idMaps.uids)} ${formatIdMap(idMaps.gids)}`;
  return { readOnly, label, volatile, idMap };
}

/** @throws {VeneerError} `in use`, with the difference */
function requireTerms(id: string, is: Terms, wanted: Terms): void {
  const differences = [
    is.readOnly !== wanted.readOnly && [mode(is), mode(wanted)],
    is.label !== wanted.label && [label(is), label(wanted)],
    is.volatile !== wanted.volatile && [sync(is), sync(wanted)],
    is.idMap !== wanted.idMap && [ids(is), ids(wanted)],
  ];
  const [difference] = differences.filter((pair) => pair !== false);
  if (difference === undefined) return;
  throw new VeneerError(
    "in use",
    `layer ${id} is in use ${difference[0]} and was requested ${difference[1]}`,
    { remedy: { kind: "umount", id } },
  );
}

const mode = ({ readOnly }: Terms) => readOnly ? "read-only" : "writable";
const label = ({ label }: Terms) => label ? `with the label ${label}` : "without a label";
const ids = ({ idMap }: Terms) => idMap ? `with the id map ${idMap}` : "without an id map";
const sync = ({ volatile }: Terms) => volatile ? "volatile" : "not volatile";

function busy(id: string, target: string): VeneerError {
  const who = [...usersOf(target), ...mountsBelow(target)].slice(0, 3).join(", ") ||
    "a process or mount that cannot be seen from here";
  return new VeneerError(
    "in use",
    `layer ${id} at ${target} is being used by ${who}; end that and unmount again`,
    { remedy: { kind: "detach", id } },
  );
}

const notMounted = (id: string) =>
  new VeneerError("failed precondition", `layer ${id} is not mounted`);

function inUse(id: string, count: number, mountPoint: string): VeneerError {
  const where = isMountPoint(mountPoint) ? ` at ${mountPoint}` : "";
  const uses = count === 1 ? "use" : "uses";
  return new VeneerError(
    "in use",
    `layer ${id} is mounted${where} (${count} ${uses})`,
    { remedy: { kind: "umount", id } },
  );
}
