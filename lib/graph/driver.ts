/**
 * The contract of a graph driver, and of what a driver itself must provide.
 *
 * A *layer* has an id and at most one *parent*; its root file system is its parent's with the layer's own
 * changes on top. Layers are created empty, filled by applying a tar of changes (or by mounting and
 * writing), and never changed below a child. {@linkcode GraphDriver} is what commands, engines and programs
 * use; it has Docker's operations under Docker's names. It is implemented once, by `graph.ts`, over a
 * {@linkcode LayerBackend}: the primitives in which drivers differ. Locks, reference counts, incomplete
 * layers, the rules of removal and the choice between a native diff and the tree comparison are the graph's;
 * a backend never takes a lock of its own.
 *
 * @module
 */
import type { Change } from "../tree/changes.ts";
import type { VeneerError } from "../base/errors.ts";
import type { IdMaps } from "../base/id_maps.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import type { Home } from "../store/home.ts";
import type { LayerMarks } from "../mount/uses.ts";
import type { WhiteoutForm } from "../tree/whiteouts.ts";

/** A line of `status`: a name and a value, as `docker info` prints them. */
export type StatusLine = readonly [name: string, value: string];

/**
 * A parent as callers name it: an id; `""` for none, the layer being taken whole; `undefined` for the one
 * that is recorded.
 */
export type ParentArgument = string | undefined;

/** What a layer is created with. */
export interface CreateOptions {
  /** The parent's id; none makes a base layer. */
  readonly parent?: string;
  /** An SELinux label for the layer's files, where the driver writes labels. */
  readonly mountLabel?: string;
  /** `size=10G` and the like; keys in any case. */
  readonly storageOptions?: ReadonlyMap<string, string>;
}

/** How a layer is mounted. */
export interface GetOptions {
  /** An SELinux label: becomes the `context=` mount option. */
  readonly label?: string;
  readonly readOnly?: boolean;
  /** Mount options for this mount alone that the driver knows, such as overlay's `volatile`. */
  readonly options?: readonly string[];
}

/** How a layer is unmounted. */
export interface PutOptions {
  /** Detach a mount that is busy: it goes when its last user does. */
  readonly lazy?: boolean;
  /** Take down a mount at the layer's place also where Veneer has no record of having made it. */
  readonly force?: boolean;
}

/** What a transfer of a layer's content may be given. */
export interface TransferOptions {
  /** Called now and then with the bytes of tar so far. */
  readonly onProgress?: (bytes: number) => void;
  /**
   * Of a tar to be applied: its digest, its size or the clean end of a request's body proves that it is whole.
   * One that ends behind an entry is taken then, with a warning; without this it counts as cut short.
   */
  readonly provenWhole?: boolean;
}

/** A layer as listings show it. */
export interface LayerInfo {
  readonly id: string;
  /** `""` for a base layer, `undefined` where no record says. */
  readonly parent: string | undefined;
  /** An apply failed or was killed: nothing may use it but `apply`, which starts over, and `remove`. */
  readonly incomplete: boolean;
  /** How many `get`s have had no `put` yet. */
  readonly references: number;
  /** Where it is mounted. */
  readonly mountPoint?: string;
}

/**
 * A store of layers. Operations are safe against each other across processes, and against being killed.
 *
 * Every method that takes an id throws {@linkcode VeneerError} `not found` for a layer that does not exist
 * and `invalid argument` for an id that could not be one.
 */
export interface GraphDriver {
  /** The driver's name, such as `"overlay2"`. */
  readonly name: string;
  /** Its directory, `<root>/<driver>`. */
  readonly home: string;

  /** What the driver found and uses. */
  status(): StatusLine[];

  /** What the driver knows of one layer, such as where its directories are. */
  getMetadata(id: string): ReadonlyMap<string, string>;

  /** Makes a layer to apply a tar to. @throws `already exists`, `not found` (parent), `limit exceeded` (depth) */
  create(id: string, options?: CreateOptions): void;

  /** Makes a layer for a container to write to: storage options such as `size` are for these. */
  createReadWrite(id: string, options?: CreateOptions): void;

  /**
   * Removes a layer. @throws `in use` where it has children, references or a mount of somebody else's, or is
   * being applied or read
   */
  remove(id: string): void;

  /**
   * Mounts a layer, or counts one more user of its mount; returns the path of its root. A layer that has
   * children is mounted read-only.
   *
   * @throws `in use` where it is in use read-only and wanted writable or the other way round, with another label
   * or otherwise volatile, and where somebody else has it mounted
   */
  get(id: string, options?: GetOptions): string;

  /**
   * The reverse of {@linkcode get}: the last one unmounts.
   *
   * @throws `failed precondition` where it is not mounted, `in use` where the mount is busy or somebody else's
   */
  put(id: string, options?: PutOptions): void;

  exists(id: string): boolean;

  /** Every layer, sorted by id. */
  layers(): LayerInfo[];

  /** One layer. */
  layer(id: string): LayerInfo;

  /**
   * Unmounts what killed commands left, finishes interrupted removals, releases the home; returns what it did.
   *
   * @param failed told of each thing that could not be done, which keeps it from no other; where it is left out,
   * warnings say so
   */
  cleanup(failed?: (error: VeneerError) => void): string[];

  /** Writes the tar of a layer's changes against a parent to a descriptor; returns bytes written. */
  diff(id: string, parent: ParentArgument, output: number, options?: TransferOptions): number;

  /** What a layer changes of a parent, in the order of `comparePaths`. */
  changes(id: string, parent: ParentArgument): Iterable<Change>;

  /**
   * Applies a tar from a descriptor, plain, gzip or zstd, all or nothing: a layer on which this failed is
   * incomplete. Returns the bytes of the files applied.
   */
  applyDiff(id: string, parent: ParentArgument, input: number, options?: TransferOptions): number;

  /** Bytes of the files that {@linkcode changes} names. */
  diffSize(id: string, parent: ParentArgument): number;

  /** How someone else would mount the layer. @throws `limit exceeded` where mount options cannot say it */
  mounts(id: string, options?: GetOptions): Mount[];
}

/** What a layer is to be made with: {@linkcode CreateOptions} after the graph checked it. */
export interface LayerSpec {
  /** An existing, complete layer. */
  readonly parent: string | undefined;
  /** Made by `createReadWrite`. */
  readonly readWrite: boolean;
  readonly mountLabel: string | undefined;
  /** Keys in lower case. */
  readonly storageOptions: ReadonlyMap<string, string>;
}

/**
 * Where a layer's own changes can be read without comparing trees:
 * - `upper`: a directory of changes and whiteouts over lowers, uppermost first;
 * - `listed`: the kernel lists the changes, and `root` is the whole tree to read them from.
 */
export type NativeDiff =
  | {
    readonly kind: "upper";
    readonly upper: string;
    readonly lowers: readonly string[];
    readonly form: "overlay" | "aufs";
  }
  | {
    readonly kind: "listed";
    readonly root: string;
    /** The parent's tree, none for a base layer. */
    readonly parentRoot: string | undefined;
    readonly changes: () => Iterable<Change>;
  };

/**
 * Gives a name in {@linkcode Home.staging} that is this transfer's own: nobody else sweeps it while the
 * transfer goes on, and the graph disposes of it afterwards. It is no layer's id.
 */
export type Scratch = () => string;

/**
 * The primitives of a driver.
 *
 * The graph calls them with an id that is well-formed. It holds the layer's lock around every call that
 * names a layer, and the store's lock around {@linkcode create} and {@linkcode retire}. A process may be
 * killed inside any of them: {@linkcode dispose} must bring a half-made or half-removed layer to an end.
 */
export interface LayerBackend {
  readonly name: string;
  readonly home: Home;
  /** Those that the store was opened with; a layer's own are `idMapsOf` in `id_map_records.ts`. */
  readonly idMaps: IdMaps;

  status(): StatusLine[];
  metadata(id: string): ReadonlyMap<string, string>;

  /** Throws `invalid argument` for an id that this driver's layout has other uses for. */
  checkId(id: string): void;

  /** The ids of every layer that was fully made. */
  list(): string[];
  exists(id: string): boolean;

  /** The recorded parent; `""` for a base layer, `undefined` where nothing says. */
  parent(id: string): string | undefined;

  /**
   * Every layer of which {@linkcode parent} says that it stands on another, and perhaps more, where that is found at
   * less cost than by asking each.
   */
  childrenOf?(id: string): string[];

  /**
   * Layers without a recorded parent that began as a copy of this one, if the file system tells: they are another
   * program's, to which this layer is their parent.
   */
  unrecordedChildren?(id: string): string[];

  /** Makes a layer: it must appear as a whole (renamed into place from {@linkcode Home.staging}) or not at all. */
  create(id: string, spec: LayerSpec): void;

  /** Takes a layer out of sight in one rename, to {@linkcode Home.staging}. Quick: others wait. */
  retire(id: string): void;

  /** Deletes what `create` left half-made or `retire` put aside under this id. Slow is fine. Idempotent. */
  dispose(id: string): void;

  /**
   * Whether what is staged under an id can be given another name, which is no id, and be disposed of under that:
   * then an id is free again although what was staged under it cannot be deleted.
   */
  readonly movesStaged?: boolean;

  /** Empties a layer to what `create` made. */
  reset(id: string): void;

  /** Whether the layer has no changes of its own, as `create` made it. */
  isPristine(id: string): boolean;

  /** Where {@linkcode plan} mounts it, also for a layer too damaged to be mounted. */
  mountPoint(id: string): string;

  /** The directories that are the layer's alone and go with it. */
  trees(id: string): readonly string[];

  /** By what its mounts are recognised, whoever made them. */
  marks(id: string): LayerMarks;

  /**
   * Whether a mount writes to the layer's directory, anywhere: also one that is attached nowhere and still held.
   * Left out where nothing tells; false where the kernel does not.
   */
  isUpperInUse?(id: string): boolean;

  /**
   * Whether a mark in the layer says that it got a child, and so must not change any more. Left out where the
   * records of parents are asked instead.
   */
  isCommitted?(id: string): boolean;

  /**
   * Takes that mark from the parent of what is staged under an id, if that was its last child. Called with the
   * store's lock held, before {@linkcode dispose}.
   */
  uncommitParent?(id: string): void;

  /** How it is mounted; with no steps, and another path, where it need not be. */
  plan(id: string, options: GetOptions): MountPlan;

  /**
   * Called before a mount that no plan takes down is: writes into the layer what only the mount knows. What
   * fails there is warned of, for the mount goes in any case.
   */
  settle?(id: string): void;

  /**
   * Whether the layer's mount lacks something, because a process was killed on the way through a plan of
   * several calls. Called with the layer locked, so that nobody is on the way now.
   */
  isHalfMounted?(id: string): boolean;

  /** The same as triples. */
  mounts(id: string, options: GetOptions): Mount[];

  /** Where a tar is applied without mounting, and in which form; `undefined` where the mounted tree takes it. */
  applyTarget(
    id: string,
  ): { readonly directory: string; readonly whiteouts: WhiteoutForm } | undefined;

  /**
   * Called after a tar was applied and before the layer counts as complete: makes certain that the content is
   * stored, if the layer's file system could lose it without a word later.
   *
   * @param directory the layer's root, opened before the first entry was written
   * @throws {VeneerError} `limit exceeded` if there was no room for it, naming what is full
   */
  ensureStored?(id: string, directory: number): void;

  /**
   * The layer's changes to its direct parent, where reading them is right; else `undefined`.
   *
   * @param scratch for what has to be made to read them
   */
  nativeDiff(id: string, scratch: Scratch): NativeDiff | undefined;

  /** Called by `cleanup`, when no layer is in use. */
  close(): void;
}
