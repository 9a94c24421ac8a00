/**
 * The target of a migration: a store in which members are made again.
 *
 * A member is made whole or not at all: after a failure what was made of it is removed, and after a
 * kill the next migration removes it (`done_log.ts`).
 *
 * @module
 */
import { basename, dirname } from "@std/path";
import { createHash } from "node:crypto";
import { EDQUOT, ENOSPC, SyscallError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { codeOf, messageOf, VeneerError } from "../base/errors.ts";
import { IDENTITY, type IdMaps } from "../base/id_maps.ts";
import type { Warn } from "../base/warn.ts";
import type { Graph } from "../graph/graph.ts";
import type { Bytes } from "../services/bytes.ts";
import type { SnapshotInfo } from "../snapshots/snapshotter.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import { storeHome } from "../snapshots/store_home.ts";
import { Home } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { reasonOfFailure } from "../tar/apply/incomplete.ts";
import { type Call, type Made, sendProgress, sendResult } from "./calls.ts";
import { DoneLog } from "./done_log.ts";
import { MovedImages } from "./images.ts";
import type { Member } from "./member.ts";
import { End, strayCall, writeTar } from "./source.ts";
import { WriteBehind } from "./write_behind.ts";

/** What is open from the beginning of a migration to its end. */
interface Work {
  readonly log: DoneLog;
  readonly writing: WriteBehind;
  readonly from: string;
}

/** The part that layers and snapshots share. */
abstract class Target extends End {
  #work: Work | undefined;
  readonly #scope = new DisposableStack();

  constructor(store: Graph | Snapshots, readonly warn: Warn) {
    super(store);
  }

  /** Its home, and the state of this boot. */
  protected abstract get place(): { readonly home: Home; readonly state: RunState };
  /** The locks that other commands take for work that would meet a migration's. */
  protected abstract readonly locks: readonly string[];
  /** What tells a member from a later one of the same id; `undefined` if it is missing. */
  protected abstract markOf(id: string): string | undefined;
  protected abstract remove(id: string): void;
  /**
   * Removes what a killed migration made of a member, and nothing that has its id since.
   *
   * @param mark of what it made; `undefined` if it was killed before that was recorded
   */
  protected abstract removeHalfMade(id: string, mark: string | undefined): void;
  /** Whether a member may reach a limit of its own before the store is full. */
  protected abstract hasLimit(member: Member): boolean;
  /** Makes an empty one. */
  protected abstract create(member: Member): void;
  /** Gives it its content and its other facts. */
  protected abstract fill(
    member: Member,
    input: number | undefined,
    onProgress: (bytes: number) => void,
  ): void;
  protected abstract writeDiff(id: string, isWhole: boolean, output: number): void;

  perform(call: Call, emit: (bytes: Bytes) => void): void {
    switch (call.kind) {
      case "begin":
        return sendResult(emit, this.#begin(call.from));
      case "make": {
        const { member, input } = call;
        const make = () => this.#make(member, input, (bytes) => sendProgress(emit, bytes));
        return sendResult(emit, input === undefined ? make() : withFd(input, make));
      }
      case "diff": {
        const { id, isWhole, output } = call;
        return writeTar(output, (fd) => this.writeDiff(id, isWhole, fd));
      }
      case "sync":
        return this.#begun.log.sync();
      default:
        throw strayCall(call);
    }
  }

  protected get log(): DoneLog {
    return this.#begun.log;
  }

  get #begun(): Work {
    if (this.#work !== undefined) return this.#work;
    throw new VeneerError("failed", "a migration that has not begun");
  }

  /** Locks the store, and removes what is half made; returns the ids that are done. */
  #begin(from: string): string[] {
    const { home, state } = this.place;
    home.requireWritable();
    for (const name of this.locks) {
      const lock = state.tryLockNamed(name);
      if (lock !== undefined) this.#scope.use(lock);
      else {
        throw new VeneerError(
          "in use",
          `${home.path} is being ${
            name === LOCK ? "migrated to by another process" : "worked on by another command"
          }: wait for its end`,
        );
      }
    }
    const log = this.#scope.use(new DoneLog(home, this.warn));
    this.#work = { log, writing: this.#scope.use(new WriteBehind(home.join())), from };
    const done: string[] = [];
    // Children come after their parents.
    for (const [id, known] of [...log.known].reverse()) {
      if (known.state === "begun") {
        this.#trying(id, () => this.removeHalfMade(id, known.mark));
      } else if (this.markOf(id) === known.mark) { // Else it is another one, made since.
        if (known.isDoubtful) this.#trying(id, () => this.remove(id));
        else if (known.from === from) done.push(id);
      }
    }
    log.run(from);
    return done;
  }

  #trying(id: string, remove: () => void): void {
    try {
      remove();
    } catch (error) {
      this.warn(`the half-made ${id} was not removed: ${messageOf(error)}`);
    }
  }

  #make(
    member: Member,
    input: number | undefined,
    onProgress: (bytes: number) => void,
  ): Made {
    const { log, writing, from } = this.#begun, { id } = member;
    if (this.markOf(id) !== undefined) {
      const known = log.known.get(id);
      const origin = known?.state === "done" && known.from !== from ? `, from ${known.from}` : "";
      throw new VeneerError(
        "already exists",
        `${id} exists in ${this.home}${origin}; remove it there, or migrate to another root`,
      );
    }
    log.begin(id);
    writing.begin();
    let isFilled = false;
    try {
      this.create(member);
      log.made(id, this.markOf(id) ?? "");
      isFilled = true;
      this.fill(member, input, (bytes) => {
        writing.progress(bytes);
        onProgress(bytes);
      });
    } catch (failure) {
      if (this.markOf(id) !== undefined) this.#trying(id, () => this.remove(id));
      const error = reasonOfFailure(failure);
      // Before that it may be too deep, which others need not be.
      const isFull = hasNoSpace(error) || isFilled && codeOf(error) === "limit exceeded";
      if (isFull && !this.hasLimit(member)) return { outOfRoom: messageOf(error) };
      throw error;
    }
    log.done(id, this.markOf(id) ?? "");
    return {};
  }

  override close(): void {
    this.#work = undefined;
    this.#scope.dispose();
    super.close();
  }
}

/** The lock of a target. */
const LOCK = "migrate";

/** Layers. */
export class LayerTarget extends Target {
  protected readonly locks = [LOCK];
  /** Whether tars have ids of this machine. */
  protected readonly hostIds: boolean = false;

  constructor(readonly graph: Graph, readonly idMaps: IdMaps, warn: Warn) {
    super(graph, warn);
  }

  protected get place() {
    const home = Home.open(dirname(this.home), basename(this.home), this.idMaps);
    return { home, state: new RunState(home) };
  }

  protected markOf(id: string): string | undefined {
    if (!this.graph.exists(id)) return undefined;
    return String(this.graph.createdAt(id) ?? "");
  }

  protected remove(id: string): void {
    this.graph.remove(id);
  }

  protected removeHalfMade(id: string, mark: string | undefined): void {
    const found = this.markOf(id);
    if (found === undefined) return;
    if (mark === undefined ? this.#isEmpty(id) : mark === found) this.remove(id);
  }

  #isEmpty(id: string): boolean {
    if (this.graph.layer(id).incomplete) return true;
    using changes = this.graph.changes(id, undefined);
    return changes.next().done === true;
  }

  protected fill(
    { id }: Member,
    input: number | undefined,
    onProgress: (bytes: number) => void,
  ): void {
    if (input !== undefined) {
      this.graph.applyDiff(id, undefined, input, { onProgress, hostIds: this.hostIds });
    }
  }

  protected hasLimit({ storageOptions = {} }: Member): boolean {
    return Object.keys(storageOptions).length > 0;
  }

  protected create({ id, parent, storageOptions = {} }: Member): void {
    const limits = new Map(Object.entries(storageOptions));
    if (limits.size > 0) {
      try {
        return this.graph.createReadWrite(id, { parent, storageOptions: limits });
      } catch (error) {
        if (!["not supported", "invalid argument"].includes(codeOf(error))) throw error;
        const what = [...limits].map(([key, value]) => `${key}=${value}`).join(" and ");
        this.warn(`layer ${id} loses its limit ${what}: ${messageOf(error)}`);
      }
    }
    this.graph.create(id, { parent });
  }

  protected writeDiff(id: string, isWhole: boolean, output: number): void {
    this.graph.diff(id, isWhole ? "" : undefined, output, { hostIds: this.hostIds });
  }
}

/** The mark of a snapshot that is being committed. */
const COMMITTING = "being committed";

/** Snapshots, and the images that are made of them. */
export class SnapshotTarget extends Target {
  // A sweep of images would take layers away that wait for theirs.
  protected readonly locks = ["images", LOCK];

  constructor(readonly snapshots: Snapshots, warn: Warn) {
    super(snapshots, warn);
  }

  protected get place() {
    return storeHome(this.home, IDENTITY);
  }

  override perform(call: Call, emit: (bytes: Bytes) => void): void {
    const images = () => new MovedImages(this.snapshots);
    if (call.kind === "keep tar record") images().keepTarRecord(call.diffId, call.input);
    else if (call.kind === "add images") sendResult(emit, images().add(call.images));
    else super.perform(call, emit);
  }

  protected markOf(id: string): string | undefined {
    return this.#info(id)?.layer ?? this.#info(keyFor(id))?.layer;
  }

  #info(name: string): SnapshotInfo | undefined {
    try {
      return this.snapshots.stat(name);
    } catch (error) {
      if (codeOf(error) === "not found") return undefined;
      throw error;
    }
  }

  protected remove(id: string): void {
    for (const name of [id, keyFor(id)]) {
      if (this.#info(name) !== undefined) this.snapshots.remove(name);
    }
  }

  protected removeHalfMade(id: string, mark: string | undefined): void {
    const key = keyFor(id), found = this.#info(id);
    // Of a key that was not committed, the name is another one's.
    if (this.#info(key) !== undefined) return this.snapshots.remove(key);
    if (found === undefined) return;
    const isOurs = mark === undefined ? this.#isEmpty(found) : mark === found.layer ||
      mark === COMMITTING && found.kind === "committed";
    if (isOurs) this.snapshots.remove(id);
  }

  #isEmpty({ name, incomplete }: SnapshotInfo): boolean {
    if (incomplete) return true;
    using changes = this.snapshots.changes(name);
    return changes.next().done === true;
  }

  protected hasLimit({ kind }: Member): boolean {
    return kind === "active";
  }

  protected create({ id, kind, parent, labels }: Member): void {
    const own = { labels: labelsOf(labels) };
    if (kind === "view") this.snapshots.view(id, parent, own);
    else if (kind === "active") this.snapshots.prepare(id, parent, own);
    else this.snapshots.prepare(keyFor(id), parent);
  }

  protected fill(
    { id, kind, labels, created = 0, updated = 0 }: Member,
    input: number | undefined,
    onProgress: (bytes: number) => void,
  ): void {
    const { snapshots } = this, key = kind === "committed" ? keyFor(id) : id;
    if (input !== undefined) snapshots.applyDiff(key, input, { onProgress });
    if (kind === "committed") {
      // It may get another layer.
      this.log.made(id, COMMITTING);
      snapshots.commit(id, key, { labels: labelsOf(labels) });
    }
    snapshots.setTimes(id, { created, updated });
  }

  protected writeDiff(id: string, isWhole: boolean, output: number): void {
    this.snapshots.diff(id, output, isWhole ? { parent: "" } : {});
  }
}

/**
 * The key under which a committed snapshot is filled: of a form that is not a container's, so that
 * no container's limits hold for it, and short, as the name may have the longest length.
 */
const keyFor = (name: string) =>
  `extract-migrate-${createHash("sha256").update(name).digest("hex")}`;

const labelsOf = (labels: Member["labels"]) => new Map(Object.entries(labels ?? {}));

/** Whether a device or a quota is full. */
function hasNoSpace(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof SyscallError && (at.errno === ENOSPC || at.errno === EDQUOT)) return true;
  }
  return false;
}
