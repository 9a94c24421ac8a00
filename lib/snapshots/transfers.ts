/**
 * Transfers: apply a tar to an active snapshot, and read a snapshot's changes.
 *
 * The snapshot's layer is marked incomplete, on disk, before the first entry of a tar is applied,
 * and the mark is removed after the last one. If the process is killed in between, the snapshot can
 * be neither mounted nor committed. It can be removed, or a tar can be applied to it again, which
 * empties it first. After a failed apply the snapshot is empty and still marked.
 *
 * A transfer holds a lock until its end, so that the snapshot is not removed, committed or mounted
 * meanwhile. If it needs the mounted tree, that is mounted below the home:
 *
 * ```text
 * <home>/mounts/.<uuid>    the mount of one transfer; a killed one's is taken down by `cleanup`
 * ```
 *
 * @module
 */
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { type FileArgument, withOutput } from "../base/descriptors.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import type { IdMaps } from "../base/id_maps.ts";
import type { SyncMode } from "../base/sync_mode.ts";
import type { TransferOptions } from "../base/transfer_options.ts";
import type { Warn } from "../base/warn.ts";
import { isMountPoint } from "../mount/mountinfo.ts";
import { type MountPort, performPlan, undoPlan } from "../mount/plan.ts";
import { withPrivateHome } from "../store/private_home.ts";
import type { RunState } from "../store/run_state.ts";
import type { TarInput } from "../tar/apply/apply.ts";
import { incompleteError } from "../tar/apply/incomplete.ts";
import { applyMarked } from "../tar/apply/marked.ts";
import type { EntryLog } from "../tar/apply/entry_log.ts";
import { type Delta, nativeDelta, OpenChanges, treeDelta } from "../tar/export/delta.ts";
import { makeDirectory, tryUnlink } from "../tree/confined.ts";
import type { LayerChain, PrepareOptions, SnapshotBackend } from "./backend.ts";
import { shown } from "./keys.ts";
import { checkActive } from "./kinds.ts";
import type { Making } from "./making.ts";
import type { Snapshot } from "./records.ts";
import type { Session } from "./session.ts";
import type { SnapshotUses } from "./uses.ts";

/** The parts and settings of transfers. */
export interface TransfersContext {
  readonly backend: SnapshotBackend;
  readonly state: RunState;
  readonly uses: SnapshotUses;
  readonly port: MountPort;
  readonly idMaps: IdMaps;
  /**
   * The data that is on disk before the snapshot counts as complete. For `layer` the commit writes
   * it out, not the apply.
   */
  readonly sync: SyncMode;
  /** The number of Workers that help: 0 or 1, which is the default. */
  readonly workers?: number;
  readonly making: Making;
  readonly warn: Warn;
}

/** A layer, with the options for making it again. */
interface Made {
  readonly chain: LayerChain;
  readonly options: PrepareOptions;
}

/** An apply in progress: the layer is marked, and held until disposal. */
export interface Begun extends Made, Disposable {
  readonly name: string;
}

/** Options of an apply, and the log of its entries for drivers that apply to a directory. */
export interface LoggedOptions extends TransferOptions {
  readonly log?: EntryLog;
}

/** The transfers of one store. */
export class SnapshotTransfers {
  readonly #context: TransfersContext;

  constructor(context: TransfersContext) {
    this.#context = context;
  }

  /**
   * Refuses a snapshot whose content is being transferred. The caller holds its layer's lock.
   *
   * @throws {VeneerError} `in use`
   */
  checkIdle({ name, layer }: Snapshot): void {
    if (!this.#context.state.isTransferred(layer)) return;
    throw new VeneerError(
      "in use",
      `snapshot ${shown(name)} is being read or applied to; end that first, or wait`,
    );
  }

  /**
   * Refuses a snapshot to which a tar was not applied to its end. @throws {VeneerError} `failed
   * precondition`
   */
  checkComplete({ name, layer }: Snapshot): void {
    if (!this.isIncomplete(layer)) return;
    throw new VeneerError(
      "failed precondition",
      `snapshot ${
        shown(name)
      } is incomplete: a tar was not applied to its end; apply it again or ` +
        "remove the snapshot",
    );
  }

  /** Whether a tar was not applied to its end. */
  isIncomplete(layer: string): boolean {
    return this.#context.backend.home.isIncomplete(layer);
  }

  /** Marks an active snapshot for an apply, and empties an incomplete one. */
  begin(session: Session, key: string): Begun {
    const { backend, state, uses } = this.#context;
    using held = session.hold(key);
    const { snapshot } = held, { layer, name } = snapshot;
    checkActive(snapshot);
    const chain = session.store.chain(snapshot);
    const info = session.store.info(key);
    const made = { chain, options: this.#context.making.optionsOf(info) };
    uses.checkUnused(snapshot, chain);
    using scope = new DisposableStack();
    scope.use(state.use(layer, "exclusive"));
    if (backend.home.isIncomplete(layer)) this.#empty(made);
    backend.home.markIncomplete(layer);
    const kept = scope.move();
    return { ...made, name, [Symbol.dispose]: () => kept[Symbol.dispose]() };
  }

  /**
   * Makes a layer again, empty. After a kill in between it is missing and marked, and the next
   * apply makes it.
   */
  #empty({ chain, options }: Made): void {
    const { backend, state } = this.#context;
    backend.remove(chain.layer);
    using _home = state.holdHome();
    backend.prepare(chain, options);
  }

  /** Applies a tar to a snapshot from {@linkcode begin}. Returns the bytes of the applied files. */
  apply(begun: Begun, tar: TarInput, options: LoggedOptions): number {
    const { chain, name } = begun;
    try {
      using scope = new DisposableStack();
      return this.#applyMarked(chain, tar, options, scope);
    } catch (error) {
      this.#giveBack(begun);
      throw incompleteError(`snapshot ${shown(name)}`, error);
    }
  }

  #applyMarked(
    chain: LayerChain,
    tar: TarInput,
    { onProgress, provenWhole, beforeComplete, log }: LoggedOptions,
    scope: DisposableStack,
  ): number {
    const { backend, idMaps, sync, workers, warn } = this.#context;
    const native = backend.applyTarget?.(chain);
    const target = native ??
      { directory: this.#mount(chain, scope), whiteouts: "none" as const };
    return applyMarked(tar, {
      target,
      finish: () => backend.finishApply?.(chain),
      ensureStored: (directory) => backend.ensureStored?.(chain.layer, directory),
      // The snapshot may then be committed, and a power failure must not bring the mark back. So it
      // is removed on disk if the content was already stored.
      markComplete: (isStored) =>
        backend.home.markComplete(chain.layer, isStored || backend.ensureStored !== undefined),
    }, {
      sync,
      idMaps,
      workers,
      warn,
      onProgress,
      provenWhole,
      beforeComplete,
      log: native !== undefined || backend.isTreeOwn ? log : undefined,
    });
  }

  /** Frees the space that a failed apply took. */
  #giveBack(begun: Begun): void {
    const { chain, name } = begun;
    const { state, warn } = this.#context;
    try {
      using _lock = state.lockLayer(chain.layer);
      this.#empty(begun);
    } catch (error) {
      warn(`snapshot ${shown(name)} was not emptied: ${messageOf(error)}`);
    }
  }

  /**
   * Opens the changes of a snapshot of any kind. `scope` releases the locks and mounts that this
   * needs.
   *
   * @param parent the committed snapshot to compare with; `""` for none, `undefined` for its parent
   */
  open(session: Session, key: string, parent: string | undefined, scope: DisposableStack): Delta {
    const { backend } = this.#context, { store } = session;
    const snapshot = this.#hold(session, key, scope), chain = store.chain(snapshot);
    const own = store.rules.parentName(snapshot);
    if (parent === undefined || parent === own) {
      const native = backend.nativeDiff?.(chain);
      if (native !== undefined) return nativeDelta(native);
    }
    const treeOf = (snapshot: Snapshot) => this.#tree(snapshot, store.chain(snapshot), scope);
    const base = parent ?? own;
    const parentRoot = base === "" ? undefined : treeOf(this.#hold(session, base, scope));
    return treeDelta(treeOf(snapshot), parentRoot);
  }

  /** Writes changes as a tar. Returns the bytes written. */
  export(delta: Delta, output: FileArgument, options: TransferOptions): number {
    const { idMaps, warn, workers } = this.#context;
    return withOutput(output, (fd) => delta.export(fd, { idMaps, warn, workers, ...options }));
  }

  /** Opens the changes, to be read one by one. @throws as {@linkcode open} */
  changes(session: Session, key: string, parent: string | undefined): OpenChanges {
    using scope = new DisposableStack();
    const delta = this.open(session, key, parent, scope);
    return new OpenChanges(delta, scope.move());
  }

  /** Keeps a complete snapshot from being changed or removed until the end of `scope`. */
  #hold(session: Session, key: string, scope: DisposableStack): Snapshot {
    using held = session.hold(key);
    const { snapshot } = held;
    scope.use(this.#context.state.use(snapshot.layer, "shared"));
    this.checkComplete(snapshot);
    return snapshot;
  }

  /**
   * The path of a snapshot's tree, which is mounted if needed.
   *
   * @throws {VeneerError} `in use` if it is active and mounted outside the home
   */
  #tree(snapshot: Snapshot, chain: LayerChain, scope: DisposableStack): string {
    const { backend, uses } = this.#context;
    if (backend.tree !== undefined) return backend.tree(chain.layer);
    if (chain.kind === "active") {
      const own = backend.home.join("mounts", chain.layer).text;
      if (isMountPoint(own)) return own;
      uses.checkUnused(snapshot, chain);
    }
    // If a layer has only changes, it is shown as a view of a child on it would be.
    const { layer, parents } = chain;
    const shownChain: LayerChain = backend.rebases
      ? { layer, kind: "view", parents: [layer, ...parents] }
      : { ...chain, kind: "view" };
    return this.#mount(shownChain, scope);
  }

  /** Mounts a tree for this transfer only. */
  #mount(chain: LayerChain, scope: DisposableStack): string {
    const { backend, state, port } = this.#context, { home } = backend;
    const name = `.${crypto.randomUUID()}`;
    scope.use(state.use(name, "exclusive"));
    makeDirectory(home.join("mounts"), 0o711);
    const path = home.join("mounts", name);
    makeDirectory(path, 0o700);
    scope.defer(() => tryUnlink(path, AT_REMOVEDIR));
    const plan = backend.plan(chain, path.text);
    withPrivateHome(home, state, () => performPlan(plan, port));
    scope.defer(() => undoPlan(plan, port, () => {}));
    return path.text;
  }
}
