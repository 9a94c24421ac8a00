/**
 * A graph driver over a backend: the part that is the same for every driver.
 *
 * Invariants:
 * - A layer is seen whole or not at all: backends rename it into place.
 * - Leftovers of killed processes are in the home's staging directory, and are deleted by the next
 *   open, unless the layer is locked by a process at work.
 * - A layer with children, with references, or being transferred is not removed.
 * - An incomplete layer is not mounted, not read and not built on.
 *
 * Locks are `run_state.ts`'s: a layer's, then the store's.
 *
 * @module
 */
import { withFd } from "../../ffi/files.ts";
import { attempt, messageOf, VeneerError } from "../base/errors.ts";
import { beginApply } from "./applying.ts";
import { incompleteError } from "../tar/apply/incomplete.ts";
import { Children } from "./children.ts";
import { DEFAULT_RECORD } from "./content_format.ts";
import { ContentLog } from "./content_log.ts";
import { sizeOf } from "../tar/export/delta.ts";
import type { GraphContext } from "./graph_context.ts";
import { Layers } from "./layers.ts";
import { LayerListing } from "./listing.ts";
import { MountedLayers } from "./mounted_layers.ts";
import { Reading } from "./reading.ts";
import { Staged } from "./staged.ts";
import { type Transfer, Transfers } from "./transfers.ts";
import { storeClosed } from "../base/opened.ts";
import type { StatusLine } from "../base/status.ts";
import type { LayerBackend } from "./backend.ts";
import type { EngineApplyOptions, EngineStore, RemoveOptions } from "./engine_store.ts";
import type { CreateOptions, GetOptions, LayerInfo, ParentArgument, PutOptions } from "./driver.ts";
import type { TransferOptions } from "../base/transfer_options.ts";
import type { ChangeIterator } from "../tree/changes.ts";
import { forgetContent } from "../store/content_records.ts";
import type { Home } from "../store/home.ts";
import { recordedIdMaps, recordIdMaps } from "../store/id_map_records.ts";
import { type FileArgument, withInput, withOutput } from "../base/descriptors.ts";
import { formatIdMap, IDENTITY } from "../base/id_maps.ts";
import { checkId, layerNotFound } from "../base/ids.ts";
import { requireNothingMountedIn } from "../mount/inner_mounts.ts";
import type { Mount } from "../mount/plan.ts";
import { IdmappedPort, refuseMappedTwice } from "../mount/idmapped_port.ts";
import { isMountPoint, mountsBelow } from "../mount/mountinfo.ts";
import { endAsking } from "../mount/upper_state.ts";
import { usersOf } from "../base/processes.ts";
import { openDirectory } from "../tree/confined.ts";
import { isHomeMountOurs, releaseHome, releaseHomeNow } from "../store/private_home.ts";
import { pruneRunStates } from "../store/prune_run_states.ts";
import { warningOf } from "../base/warn.ts";
import { RunState } from "../store/run_state.ts";
import { UNUSED } from "../store/mount_record.ts";
import { openTarInput } from "../tar/apply/apply.ts";
import { storeTree } from "../tree/store_tree.ts";
import { applyMarked } from "../tar/apply/marked.ts";

/** {@linkcode GraphDriver} over a {@linkcode LayerBackend}. */
export class Graph implements EngineStore {
  readonly #context: GraphContext;
  readonly #state: RunState;
  readonly #mounted: MountedLayers;
  readonly #children: Children;
  readonly #staged: Staged;
  readonly #transfers: Transfers;
  readonly #reading: Reading;
  #opened: Layers | undefined;

  /** Opens a store and finishes the work of killed processes. */
  constructor(context: GraphContext) {
    this.#context = context;
    this.#state = RunState.of(context.backend.home);
    const { backend, port, warn, foreignUses } = context;
    this.#mounted = new MountedLayers(backend, this.#state, port, warn, foreignUses);
    this.#children = new Children(backend, this.#state, warn);
    this.#staged = new Staged(backend, this.#state, this.#children, warn);
    this.#transfers = new Transfers(this.#mounted, this.#state, warn);
    const layers = this.#opened = new Layers(backend, this.#state, this.#staged);
    this.#reading = new Reading(layers, this.#mounted, this.#transfers);
    this.#staged.sweep();
    this.#transfers.sweep();
  }

  get name(): string {
    return this.#context.backend.name;
  }

  get home(): string {
    return this.#home.path;
  }

  get #home(): Home {
    return this.#context.backend.home;
  }

  get #layers(): Layers {
    if (this.#opened !== undefined) return this.#opened;
    throw storeClosed(this.home);
  }

  get #backend(): LayerBackend {
    return this.#layers.backend;
  }

  close(): void {
    if (this.#opened === undefined) return;
    this.#opened = undefined;
    releaseHomeNow(this.#state);
    endAsking();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  status(): readonly StatusLine[] {
    return this.#backend.status();
  }

  getMetadata(id: string): ReadonlyMap<string, string> {
    this.#layers.require(id);
    const metadata = this.#backend.metadata(id);
    const idMaps = recordedIdMaps(this.#home, id);
    if (idMaps === undefined) return metadata;
    const { uids, gids } = idMaps;
    return new Map([...metadata, ["UidMap", formatIdMap(uids)], ["GidMap", formatIdMap(gids)]]);
  }

  create(id: string, options: CreateOptions = {}): void {
    this.#layers.hold(() => this.#create(id, options, false));
  }

  createReadWrite(id: string, options: CreateOptions = {}): void {
    this.#layers.hold(() => this.#create(id, options, true));
  }

  #create(id: string, options: CreateOptions, readWrite: boolean): void {
    checkId(id);
    this.#backend.checkId(id);
    const parent = options.parent || undefined;
    if (parent !== undefined) checkId(parent);
    this.#layers.requireWritable();
    using _lock = this.#layers.lock(id);
    using _store = this.#state.lockStore();
    if (this.#backend.exists(id)) {
      throw new VeneerError("already exists", `layer ${id} exists; choose another id or remove it`);
    }
    this.#staged.requireFree(id);
    if (parent !== undefined) {
      if (!this.#backend.exists(parent)) throw layerNotFound(parent);
      this.#layers.requireComplete(parent);
    }
    const storageOptions = new Map(
      [...options.storageOptions ?? []].map(([key, value]) => [key.toLowerCase(), value]),
    );
    const idMaps = parent === undefined ? this.#backend.idMaps : this.#layers.idMaps(parent);
    try {
      recordIdMaps(this.#home, id, idMaps);
      this.#backend.create(id, {
        parent,
        readWrite,
        mountLabel: options.mountLabel,
        storageOptions,
      });
    } catch (error) {
      if (!this.#backend.exists(id)) this.#staged.finish(id, { hasStore: true });
      throw error;
    }
  }

  remove(id: string, { endUses = false }: RemoveOptions = {}): void {
    checkId(id);
    this.#layers.requireWritable();
    using lock = this.#layers.lock(id);
    if (!this.#backend.exists(id)) throw layerNotFound(id);
    using _use = this.#state.use(id, "exclusive");
    let isParentTold = false;
    {
      using _store = this.#state.lockStore();
      const found = this.#children.look();
      const children = found.of(id, 4);
      if (!endUses) this.#mounted.requireNoUsers(id, lock);
      if (children.length > 0) {
        const some = children.slice(0, 3).join(", ") + (children.length > 3 ? ", …" : "");
        throw new VeneerError("in use", `layer ${id} has children: ${some}; remove them first`);
      }
      this.#staged.requireFree(id);
      this.#requireNothingMountedIn(id);
      if (endUses) this.#mounted.endUses(id, lock);
      this.#mounted.requireUnused(id, lock);
      this.#backend.retire(id);
      isParentTold = this.#staged.tellParent(id, found);
    }
    // The layer is removed. Files that are left only take space, which is a warning.
    lock.references = UNUSED;
    this.#staged.finish(id, { isParentTold });
  }

  get(id: string, options: GetOptions = {}): string {
    checkId(id);
    const { idMaps } = options;
    using mapped = idMaps && new IdmappedPort(this.#backend, idMaps);
    return this.#state.hold(() => {
      using lock = this.#layers.lock(id);
      const hasChildren = this.#home.root.hold(() => {
        this.#layers.require(id);
        this.#layers.requireComplete(id);
        const own = this.#layers.idMaps(id);
        if (mapped !== undefined) refuseMappedTwice(`layer ${id}`, own);
        this.#backend.requireSole?.();
        const hasChildren = !options.readOnly && this.#hasChildren(id);
        if (!options.readOnly && !hasChildren) forgetContent(this.#home, id);
        return hasChildren;
      });
      return this.#mounted.get(id, lock, options, hasChildren, mapped);
    });
  }

  put(id: string, options?: PutOptions): void {
    checkId(id);
    this.#state.hold(() => {
      using lock = this.#layers.lock(id);
      this.#layers.require(id);
      this.#mounted.put(id, lock, options);
    });
  }

  recount(): void {
    this.#mounted.keepHome();
    for (const id of this.#backend.list()) {
      using lock = this.#layers.lock(id);
      if (this.#backend.exists(id)) this.#mounted.recount(id, lock);
    }
  }

  exists(id: string): boolean {
    checkId(id);
    return this.#backend.exists(id);
  }

  layers(): LayerInfo[] {
    return this.#listing.all();
  }

  layer(id: string): LayerInfo {
    return this.#listing.one(id);
  }

  get #listing(): LayerListing {
    return new LayerListing(this.#layers, this.#mounted, this.#context.warn);
  }

  openFiles(id: string, scope: DisposableStack, isRead = false): number | undefined {
    this.#layers.require(id);
    return this.#backend.openFiles?.(id, scope, isRead);
  }

  cleanup(failed?: (error: VeneerError) => void): string[] {
    const { warn } = this.#context;
    const tell = failed ?? warningOf(warn);
    this.#backend.requireSole?.();
    const done = this.#staged.sweep(tell);
    this.#transfers.sweep();
    const foreign: string[] = [];
    let mounted = 0;
    for (const id of this.#backend.list()) {
      const found = attempt(tell, `layer ${id}`, () => this.#clean(id)) ?? "in use";
      if (found === "unmounted") done.push(`unmounted layer ${id}`);
      else if (found !== "nothing") mounted++;
      if (found === "foreign") foreign.push(id);
    }
    if (foreign.length > 0) {
      this.#context.warn(leftAlone(foreign), { kind: "umount foreign", ids: foreign });
    }
    attempt(tell, "locks of killed processes", () => this.#state.forgetLocks());
    attempt(tell, "states of removed stores", () => pruneRunStates(this.#context.warn));
    attempt(tell, "records of lost mounts of the home", () => this.#state.forgetLostHomeMounts());
    if (mounted === 0) {
      attempt(tell, this.home, () => {
        // Not while another process has prepared a layer and not mounted it yet.
        using still = this.#state.tryLockHome();
        if (still !== undefined) this.#backend.release();
      });
      const released = attempt(tell, this.home, () => releaseHome(this.#home, this.#state));
      if (released) done.push(`released ${this.home}`);
      else if (released === false) this.#tellHolders();
    }
    return done;
  }

  /** Ends unused mounts of a layer. */
  #clean(id: string): ReturnType<MountedLayers["clean"]> {
    using lock = this.#state.tryLockLayer(id);
    return lock === undefined ? "nothing" : this.#mounted.clean(id, lock);
  }

  /** Warns of the users of the home's own mount, which keeps its disk from being unmounted. */
  #tellHolders(): void {
    if (!isHomeMountOurs(this.#home, this.#state)) return;
    // A layer mounted by another process since is a good reason to keep it.
    if (this.#backend.list().some((id) => isMountPoint(this.#backend.mountPoint(id)))) return;
    const holders = [...usersOf(this.home), ...mountsBelow(this.home)].slice(0, 3).join(", ");
    this.#context.warn(
      `${this.home} stays mounted on itself${holders && `: in use by ${holders}`}`,
    );
  }

  diff(
    id: string,
    parent: ParentArgument,
    output: FileArgument,
    options: TransferOptions = {},
  ): number {
    using scope = new DisposableStack();
    const { warn, workers } = this.#context;
    const delta = this.#reading.open(id, parent, scope);
    const idMaps = options.hostIds ? IDENTITY : this.#layers.idMaps(id);
    return withOutput(output, (fd) => delta.export(fd, { idMaps, warn, workers, ...options }));
  }

  changes(id: string, parent: ParentArgument): ChangeIterator {
    this.#layers.require(id);
    return this.#reading.changes(id, parent);
  }

  diffSize(id: string, parent: ParentArgument): number {
    using scope = new DisposableStack();
    return sizeOf(this.#reading.open(id, parent, scope));
  }

  applyDiff(
    id: string,
    parent: ParentArgument,
    input: FileArgument,
    options: EngineApplyOptions = {},
  ): number {
    return withInput(input, (fd) => this.#apply(id, parent, fd, options));
  }

  #apply(
    id: string,
    parent: ParentArgument,
    input: number,
    { onProgress, onWaiting, provenWhole, beforeComplete, marksFirst, hostIds }: EngineApplyOptions,
  ): number {
    this.#layers.require(id);
    this.#layers.requireWritable();
    const base = this.#layers.parent(id, parent, this.#layers.recordedAncestry());
    if (base !== "") this.#layers.idMaps(base);
    using scope = new DisposableStack();
    const { inflater } = this.#context;
    const open = () => scope.use(openTarInput(input, { onWaiting, inflater }));
    // Reads from the client, so it comes before any lock.
    const opened = marksFirst ? undefined : open();
    using transfer = this.#transfers.begin(id, "exclusive");
    const pristine = this.#beginApply(id);
    try {
      const tar = opened ?? open();
      using mounted = new DisposableStack();
      const backend = this.#backend, { sync, workers, warn } = this.#context;
      const idMaps = hostIds ? IDENTITY : this.#layers.idMaps(id);
      const isOnParent = base === backend.parent(id);
      const native = isOnParent ? backend.applyTarget(id) : undefined;
      // A record of content that something else was in before would not be whole.
      const { record = DEFAULT_RECORD } = this.#context;
      const canRecord = native !== undefined || isOnParent && backend.isTreeOwn === true;
      const isRecorded = canRecord && pristine && record !== "none";
      const diffId = isRecorded && record === "hash" ? tar.beginDigest() : undefined;
      const log = isRecorded ? mounted.use(new ContentLog(this.#home, id)) : undefined;
      return applyMarked(tar, {
        target: native ??
          { directory: this.#mountUnchecked(id, transfer, mounted), whiteouts: "none" },
        finish: (directory) => {
          backend.finishApply?.(id);
          if (record === "hash") log?.addSums(directory, diffId?.());
          log?.finish();
        },
        ensureStored: (directory) => backend.ensureStored?.(id, directory),
        writeOut: (directory) =>
          withFd(openDirectory(backend.home.join()), (home) => storeTree(directory, home)),
        markComplete: (sync) => backend.home.markComplete(id, sync),
      }, { sync, idMaps, workers, warn, onProgress, provenWhole, beforeComplete, log });
    } catch (error) {
      if (pristine) this.#giveBack(id);
      throw incompleteError(`layer ${id}`, error);
    }
  }

  #beginApply(id: string): boolean {
    using lock = this.#layers.lock(id);
    this.#layers.require(id);
    this.#mounted.requireNoUsers(id, lock);
    const [child] = this.#children.look().of(id, 1);
    if (child !== undefined) {
      throw new VeneerError(
        "in use",
        `layer ${id} has a child, ${child}: it must not change any more`,
      );
    }
    this.#staged.requireFree(id);
    this.#mounted.requireUnused(id, lock);
    const pristine = beginApply(id, this.#backend);
    forgetContent(this.#home, id);
    this.#finishReset(id);
    return pristine;
  }

  /** Deletes the files that a reset put aside. If others still write to them, the apply goes on. */
  #finishReset(id: string): void {
    if (this.#home.isStaged(id)) this.#staged.finish(id, { isParentTold: true });
  }

  /** Frees the space that a failed apply took. */
  #giveBack(id: string): void {
    try {
      using _lock = this.#layers.lock(id);
      this.#backend.reset(id);
      this.#finishReset(id);
    } catch (error) {
      this.#context.warn(`layer ${id} was not emptied: ${messageOf(error)}`);
    }
  }

  diskUsage(id: string): number {
    this.#layers.require(id);
    return this.#backend.diskUsage(id, !this.#children.look().has(id));
  }

  /** The storage options by which another layer would get this one's limits. */
  storageOptions(id: string): ReadonlyMap<string, string> {
    this.#layers.require(id);
    return this.#backend.storageOptions?.(id) ?? new Map();
  }

  createdAt(id: string): number | undefined {
    return this.#home.root.hold(() => {
      this.#layers.require(id);
      return this.#backend.createdAt(id);
    });
  }

  creationTimes(ids: readonly string[]): ReadonlyMap<string, number> {
    const times = new Map<string, number>();
    this.#layers.hold(() => {
      for (const id of ids) {
        const time = this.#tryCreatedAt(id);
        if (time !== undefined) times.set(id, time);
      }
    });
    return times;
  }

  #tryCreatedAt(id: string): number | undefined {
    try {
      return this.#backend.createdAt(id);
    } catch {
      return undefined;
    }
  }

  mounts(id: string, options: GetOptions = {}): Mount[] {
    checkId(id);
    using lock = this.#layers.lock(id);
    this.#layers.require(id);
    this.#layers.requireComplete(id);
    this.#layers.idMaps(id);
    this.#backend.requireSole?.();
    const readOnly = options.readOnly || this.#hasChildren(id);
    if (!readOnly) forgetContent(this.#home, id);
    const mounts = () => this.#backend.mounts(id, { ...options, readOnly });
    return this.#mounted.handOut(id, lock, { ...options, readOnly }, mounts);
  }

  /** Mounts a layer during an apply, when it is incomplete. */
  #mountUnchecked(id: string, transfer: Transfer, scope: DisposableStack): string {
    using lock = this.#layers.lock(id);
    scope.defer(() => transfer.unmount());
    return this.#mounted.getForTransfer(id, lock, {});
  }

  #requireNothingMountedIn(id: string): void {
    const backend = this.#backend;
    const own = backend.mountPoint(id);
    requireNothingMountedIn({ what: `layer ${id}`, trees: backend.trees(id), mark: id, own });
  }

  /** Whether a layer has children, and so must no longer change. */
  #hasChildren(id: string): boolean {
    return this.#backend.isCommitted?.(id) ?? this.#children.look().has(id);
  }
}

function leftAlone(ids: readonly string[]): string {
  const some = ids.slice(0, 3).join(", ") + (ids.length > 3 ? ", …" : "");
  const [what, is] = ids.length === 1 ? ["layer", "is"] : ["layers", "are"];
  return `${what} ${some} ${is} mounted by another program and left alone`;
}
