/**
 * Repairing a store: from the findings of its check to one that finds nothing.
 *
 * A run goes in rounds. Each checks the store and mends what it finds; what was mended may show more,
 * or may be what other things can be mended from. Only when nothing is left to mend are layers given
 * up: moved into the quarantine with all that stand on them.
 *
 * The store's lock is held throughout, so that no layer is made or removed meanwhile, and each
 * layer's while it is mended. Mounts and transfers of other layers go on. A store of snapshots is
 * held as a service holds it, for its commands are quick.
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

/** How a store is repaired. */
export interface RepairOptions {
  /** Whether a finding is to be mended. */
  readonly isWanted: (finding: Finding) => boolean;
  /** Gets the reason for each finding that could not be mended; the others still are. */
  readonly failed: (error: VeneerError) => void;
  /** Changes nothing, and tells what the first round would do. */
  readonly isDry?: boolean;
  /** Between two looks of a check, in milliseconds. */
  readonly pause?: number;
}

/** The result of a repair. */
export interface Repaired {
  /** What was mended, or would be. */
  readonly mended: readonly Finding[];
  /** The layers and snapshots that were given up, or would be. */
  readonly lost: readonly Lost[];
  /** The new names of snapshots that lost theirs. */
  readonly renamed: Readonly<Record<string, string>>;
  /** What is still there. */
  readonly left: readonly Finding[];
  /** The directory of what was replaced, if anything was. */
  readonly quarantine: string | undefined;
}

/** More rounds than damage can hide behind damage: a chain of layers is mended in one order. */
const MOST_ROUNDS = 300;

/** The pause between two looks of a check, in milliseconds. */
const PAUSE = 20;

/**
 * Repairs a store; `undefined` if there is none.
 *
 * @throws {VeneerError} `in use` if a service or Docker's daemon has it, `failed precondition` if
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

/** What a repair would do, as far as it shows now. */
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

/** Docker's daemon knows layers and containers that are in no record yet. */
function requireNoDocker(root: string, home: string): void {
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
      return false; // The directory of Veneer's records is not one.
    }
  });
}

/** Puts aside what stands in place of the directory of Veneer's records, or closes it to others. */
function openOwnRecords(path: string): void {
  const fd = tryOpen(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) return;
  withFd(fd, () => {
    const own = ConfinedRoot.of(path, fd).join(OWN);
    // One process at a time: another one may have made the directory meanwhile.
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
  /** Layers that were given up; what Docker's records say of them is mended as well. */
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

  /** @param before the check before the home was opened, which mends some things by itself */
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
    this.#quarantine.write();
    const losses = new Losses(checked);
    let isRebuilt = false;
    for (const finding of findings) {
      // Two findings may ask for the same.
      const isDone = finding.repair!.every((step) =>
        step.do === "lose" ? losses.isLost(step.layer) : step.do === "rebuild" && isRebuilt
      );
      const done = isDone || attempt(this.options.failed, finding.file, () => {
        for (const step of finding.repair!) this.#perform(step, finding, losses);
        return true;
      });
      if (done === undefined) this.#failed.add(identityOf(finding));
      else this.#mended.push(finding);
      isRebuilt ||= finding.repair!.some((step) => step.do === "rebuild");
    }
  }

  #perform(step: Step, { layer }: Finding, losses: Losses): void {
    switch (step.do) {
      case "lose":
        losses.on(step.layer).forEach((id) => this.#lost.add(id));
        return losses.lose(step.layer, this.store, this.state, this.#mender);
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
