/**
 * The limits of active snapshots: how much space and how many inodes one may take of its own.
 *
 * Clients hardly ever ask for one: Docker's and Kubernetes' ways through containerd have no field
 * for it. So a store has defaults, which are for containers' snapshots and not for those into which
 * image layers are unpacked. The two are told apart by their keys, since nothing else tells them.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { parseCount, parseSize } from "../base/sizes.ts";
import type { Labels, SnapshotKind } from "./snapshotter.ts";

/** Limits of one snapshot; 0 is no limit. */
export interface SnapshotLimits {
  readonly bytes: number;
  readonly inodes: number;
}

export const NO_LIMITS: SnapshotLimits = { bytes: 0, inodes: 0 };

/** Whether there is any limit. */
export const isLimited = ({ bytes, inodes }: SnapshotLimits): boolean => bytes > 0 || inodes > 0;

/** The keys of `-o` options that give a store's defaults. */
export const LIMIT_OPTIONS: readonly string[] = ["snapshot.size", "snapshot.inodes"];

/** The label by which a client asks for a size, in bytes: containerd 2.4's `LabelSnapshotMaxSize`. */
export const SIZE_LABEL = "containerd.io/snapshot/max-size";

/** @throws {VeneerError} `invalid argument` with the option and its rule */
export function parseLimits(options: ReadonlyMap<string, string>): SnapshotLimits {
  return {
    bytes: parseSize(options.get("snapshot.size") ?? "0", "snapshot.size"),
    inodes: parseCount(options.get("snapshot.inodes") ?? "0", "snapshot.inodes"),
  };
}

/** A snapshot that is about to be made. */
export interface Prepared {
  readonly kind: SnapshotKind;
  readonly name: string;
  /** `""` if there is none. */
  readonly parent: string;
  readonly labels: Labels;
}

/**
 * The limits of a new snapshot: the size that its label asks for, else the defaults if it is a
 * container's. A view is not written to and has none.
 *
 * @throws {VeneerError} `invalid argument` for a label that is not a number of bytes
 */
export function limitsOf(snapshot: Prepared, defaults: SnapshotLimits): SnapshotLimits {
  if (snapshot.kind !== "active") return NO_LIMITS;
  const { bytes, inodes } = isOfContainer(snapshot) ? defaults : NO_LIMITS;
  const asked = snapshot.labels.get(SIZE_LABEL);
  return { bytes: asked === undefined ? bytes : parseAsked(asked), inodes };
}

function parseAsked(text: string): number {
  const bytes = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new VeneerError(
    "invalid argument",
    `label ${SIZE_LABEL} ${JSON.stringify(text)}: it must be a number of bytes`,
  );
}

/**
 * Keys that are no container's: containerd unpacks a layer into `extract-…`; moby makes a
 * container's files such as `/etc/hosts` in `…-init-key`; a client of containerd copies an image to
 * other owners in `…-remap`.
 */
const NOT_OF_CONTAINERS = /^extract-|-init-key$|-remap$/s;

/** containerd gives a backend its clients' keys as `<namespace>/<number>/<key>`. */
const NAMESPACE = /^[^/]+\/\d+\//;

/**
 * Whether a snapshot is a container's. Image layers without a parent are unpacked, too; no container
 * is without one.
 */
export function isOfContainer({ kind, name, parent }: Prepared): boolean {
  return kind === "active" && parent !== "" && !NOT_OF_CONTAINERS.test(name.replace(NAMESPACE, ""));
}
