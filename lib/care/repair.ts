/**
 * Repairs a store until a check finds no damage that can be mended.
 *
 * A run consists of rounds. Each checks the store and mends the damage that it finds. A mended
 * thing may show more damage, or other things may be mended from it. Only if there is nothing else
 * to mend, layers are given up: they are moved into the quarantine with all layers on them.
 *
 * The store's lock is held for the whole run, so that no layer is made or removed meanwhile. Each
 * layer's lock is held while that layer is mended. Mounts and transfers of other layers go on. A
 * store of snapshots is held like a service holds it.
 *
 * @module
 */
import { join } from "@std/path";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, tryOpen, withFd } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { fchmod } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { attempt, VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { dockerOn } from "../store/dockerd.ts";
import { Home, OWN } from "../store/home.ts";
import { RunState } from "../store/run_state.ts";
import { holdForService, holdToChange } from "../store/service_hold.ts";
import { ConfinedRoot, openDirectory, rename, tryLstat } from "../tree/confined.ts";
import { type Checked, type CheckedStore, checkStore } from "./check.ts";
import { type Finding, identityOf } from "./finding.ts";
import { Losses } from "./losses.ts";
import { Mender } from "./mender.ts";
import { isLoss, type Step } from "./mending.ts";
import { endInterrupted, interruptedRuns, type Lost, Quarantine } from "./quarantine.ts";
import { hasDatabase, makeDatabase, placeDatabase } from "./rebuild.ts";
import { StoreView } from "./store_view.ts";

/** The options of a repair. */
export interface RepairOptions {
  /** Whether a finding is to be mended. */
  readonly isWanted: (finding: Finding) => boolean;
  /**
   * Gets the error for each finding that could not be mended; the others are mended nevertheless.
   */
  readonly failed: (error: VeneerError) => void;
  /** Change nothing, and return what the first round would do. */
  readonly isDry?: boolean;
  /** The pause between two passes of a check, in milliseconds. */
  readonly pause?: number;
}

/** The result of a repair. */
export interface Repaired {
  /** The findings that were mended, or would be. */
  readonly mended: readonly Finding[];
  /** The layers and snapshots that were given up, or would be. */
  readonly lost: readonly Lost[];
  /** The new names of snapshots that lost theirs. */
  readonly renamed: Readonly<Record<string, string>>;
  /** The findings that are left. */
  readonly left: readonly Finding[];
  /** The directory of the replaced things, if there are any. */
  readonly quarantine: string | undefined;
}

/** The most rounds. Far fewer reveal all damage that other damage hides. */
const MOST_ROUNDS = 300;

/** The number of damaged layers that are given up, and locked, at a time. */
const BATCH = 256;

/** The pause between two passes of a check, in milliseconds. */
const PAUSE = 20;

/**
 * Repairs a store; `undefined` if there is none.
 *
 * @throws {VeneerError} `in use` if a service or Docker's daemon uses it, `failed precondition` if
 * its file system is read-only
 */
export function repairStore(store: CheckedStore, options: RepairOptions): Repaired | undefined {
  const checked = checkStore(store, options.pause ?? PAUSE);
  if (checked === undefined) return undefined;
  if (options.isDry) return planned(store, checked, options);
  const name = store.of === "layers" ? store.driver : `snapshots/${store.driver}`;
  const path = join(store.root, name);
  if (checked.findings.length === 0 && !hasInterrupted(path)) return nothingToDo(checked);
  requireNoDocker(store.root, path);
  openOwnRecords(path);
  const home = Home.open(store.root, name, IDENTITY);
  home.requireWritable();
  const state = new RunState(home);
  using _hold = store.of === "layers" ? holdToChange(state, path) : holdForService(state, path);
  using _store = state.lockStore();
  return new Repair(store, options, home, state).run(checked);
}

const nothingToDo = ({ findings }: Checked): Repaired => ({
  mended: [],
  lost: [],
  renamed: {},
  left: findings,
  quarantine: undefined,
});

/** Returns what a repair would do, as far as one check shows it. */
function planned(store: CheckedStore, checked: Checked, { isWanted }: RepairOptions): Repaired {
  using view = StoreView.open(
    store.root,
    store.of === "layers" ? store.driver : `snapshots/${store.driver}`,
  );
  const wanted = checked.findings.filter((finding) => finding.repair && isWanted(finding));
  const losses = new Losses(checked);
  const lost = wanted.filter(isLoss).flatMap(({ layer }) =>
    losses.on(layer!).map((id) => ({
      name: checked.shown(id),
      because: checked.shown(layer!),
      moved: [...store.checks!.pathsOf(view!, id, store.of)],
    }))
  );
  const known = new Map(lost.map((one) => [one.name, one]));
  const left = checked.findings.filter((finding) => !wanted.includes(finding));
  return { mended: wanted, lost: [...known.values()], renamed: {}, left, quarantine: undefined };
}

/**
 * Throws if Docker's daemon runs on the store: it knows layers and containers without a record yet.
 */
export function requireNoDocker(root: string, home: string): void {
  const dockerd = dockerOn({ root, home, isRecorded: () => true });
  if (dockerd === undefined) return;
  throw new VeneerError("in use", `${dockerd} runs on ${home}; stop it before a repair`);
}

function hasInterrupted(path: string): boolean {
  const fd = tryOpen(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) return false;
  return withFd(fd, () => {
    const root = ConfinedRoot.through(path, fd);
    try {
      return interruptedRuns({ own: (...parts) => root.join(OWN, ...parts) }).length > 0;
    } catch {
      return false; // The entry of Veneer's records is not a directory.
    }
  });
}

/**
 * Makes Veneer's records accessible: moves aside an entry that is not a directory, and takes the
 * write permission for the directory from group and others.
 */
function openOwnRecords(path: string): void {
  const fd = tryOpen(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) return;
  withFd(fd, () => {
    const own = ConfinedRoot.of(path, fd).join(OWN);
    // Only one process may do this: another one may make the directory meanwhile.
    if (!tryLock(fd, "exclusive", path)) return;
    const stat = tryLstat(own);
    if (stat === undefined) return;
    if (!stat.isDirectory) rename(own, own.withSuffix(`.damaged-${crypto.randomUUID()}`));
    else withFd(openDirectory(own), (fd) => fchmod(fd, fstat(fd).mode & 0o7755));
  });
}

/** A repair of one store. */
class Repair {
  readonly #mended: Finding[] = [];
  readonly #failed = new Set<string>();
  /** The layers that were given up. Docker's records of them are mended as well. */
  readonly #lost = new Set<string>();
  readonly #quarantine: Quarantine;
  readonly #mender: Mender;

  constructor(
    readonly store: CheckedStore,
    readonly options: RepairOptions,
    readonly home: Home,
    readonly state: RunState,
  ) {
    this.#quarantine = new Quarantine(home);
    this.#mender = new Mender(home, this.#quarantine, join(store.root, "image", store.driver));
  }

  /** @param before the check before the home was opened; the opening mends some things by itself */
  run(before: Checked): Repaired {
    this.#finishInterrupted();
    let checked = checkStore(this.store, this.options.pause ?? PAUSE)!;
    const still = new Set(checked.findings.map(identityOf));
    this.#mended.push(
      ...before.findings.filter((one) => one.repair && !still.has(identityOf(one))),
    );
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const wanted = checked.findings.filter((finding) =>
        finding.repair !== undefined && !this.#failed.has(identityOf(finding)) &&
        (this.options.isWanted(finding) || this.#lost.has(finding.layer ?? ""))
      );
      const mends = wanted.filter((finding) => !isLoss(finding));
      const next = mends.length > 0 ? mends : wanted;
      if (next.length === 0) break;
      this.#mendAll(next, checked);
      checked = checkStore(this.store, this.options.pause ?? PAUSE)!;
    }
    this.#quarantine.finish();
    const { journal, isUsed, path } = this.#quarantine;
    return {
      mended: this.#mended,
      lost: journal.lost,
      renamed: journal.renamed,
      left: checked.findings,
      quarantine: isUsed ? path.text : undefined,
    };
  }

  #finishInterrupted(): void {
    for (const run of interruptedRuns(this.home)) {
      if (hasDatabase(run)) placeDatabase(this.home, run);
      endInterrupted(run);
    }
  }

  #mendAll(findings: readonly Finding[], checked: Checked): void {
    for (const { kind, layer, file, what, repair } of findings) {
      this.#quarantine.journal.repairs.push({ kind, layer, file, what, steps: repair! });
    }
    if (findings.every(isLoss)) return this.#loseAll(findings, checked);
    this.#quarantine.write();
    let isRebuilt = false;
    for (const finding of findings.toSorted(directoriesFirst)) {
      const rebuilds = finding.repair!.some((step) => step.do === "rebuild");
      // Two findings may have this step.
      const done = rebuilds && isRebuilt || attempt(this.options.failed, finding.file, () => {
        for (const step of finding.repair!) this.#perform(step, finding);
        return true;
      });
      if (done === undefined) this.#failed.add(identityOf(finding));
      else this.#mended.push(finding);
      isRebuilt ||= rebuilds;
    }
  }

  #loseAll(findings: readonly Finding[], checked: Checked): void {
    const losses = new Losses(checked);
    const reasons = new Map<string, VeneerError>();
    const layers = [...new Set(findings.map(({ layer }) => layer!))];
    for (let at = 0; at < layers.length; at += BATCH) {
      const batch = layers.slice(at, at + BATCH);
      losses.lose(batch, this.store, this.state, this.#mender, (layer, error) => {
        reasons.set(layer, error);
        this.options.failed(error);
      });
    }
    for (const finding of findings) {
      if (reasons.has(finding.layer!)) this.#failed.add(identityOf(finding));
      else this.#mended.push(finding);
    }
    for (const id of layers) {
      if (!reasons.has(id)) losses.on(id).forEach((lost) => this.#lost.add(lost));
    }
  }

  #perform(step: Step, { layer }: Finding): void {
    switch (step.do) {
      case "lose":
        throw new TypeError("layers are given up together");
      case "rebuild":
        return this.#rebuild();
      default: {
        using _lock = layer === undefined ? undefined : this.#lock(layer);
        return this.#mender.perform(step);
      }
    }
  }

  /** @throws {VeneerError} `in use` */
  #lock(layer: string): Disposable {
    const lock = this.state.tryLockLayer(layer);
    if (lock !== undefined) return lock;
    throw new VeneerError("in use", `another command works on layer ${layer}; try again`);
  }

  #rebuild(): void {
    const quarantine = this.#quarantine, { path, journal } = quarantine;
    const none = { snapshots: [], intents: new Set<string>() };
    using view = StoreView.open(this.store.root, `snapshots/${this.store.driver}`);
    const onDisk = new Set(this.store.checks?.checkSnapshots(view!, none, () => {}));
    const { renamed, recovered, lost } = makeDatabase(this.home, path, onDisk);
    Object.assign(journal.renamed, renamed, recovered);
    for (const name of lost) journal.lost.push({ name, because: name, moved: [] });
    quarantine.write();
    placeDatabase(this.home, path);
  }
}

/** An order of mends: what a missing directory is to hold can be made once the directory is there. */
function directoriesFirst(one: Finding, other: Finding): number {
  const [first, second] = [one, other].map(({ repair }) =>
    repair!.some((step) => step.do === "directory") ? 0 : 1
  );
  return first - second;
}
