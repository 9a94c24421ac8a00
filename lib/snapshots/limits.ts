/**
 * The limits of active snapshots: the space and the inodes that a snapshot may add to its parent.
 *
 * Clients hardly ever ask for a limit: Docker and Kubernetes cannot pass one through containerd. So
 * a store has defaults. They are for containers' snapshots, not for those into which image layers
 * are unpacked. Only their keys tell the two apart.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { parseCount, parseSize } from "../base/sizes.ts";
import type { Labels, SnapshotKind } from "./snapshotter.ts";

/** The limits of one snapshot; 0 for no limit. */
export interface SnapshotLimits {
  readonly bytes: number;
  readonly inodes: number;
}

export const NO_LIMITS: SnapshotLimits = { bytes: 0, inodes: 0 };

/** Whether there is any limit. */
export const isLimited = ({ bytes, inodes }: SnapshotLimits): boolean => bytes > 0 || inodes > 0;

/** The keys of the `-o` options with a store's defaults. */
export const LIMIT_OPTIONS: readonly string[] = ["snapshot.size", "snapshot.inodes"];

/**
 * The label with which a client asks for a size in bytes: `LabelSnapshotMaxSize` of containerd 2.4.
 */
export const SIZE_LABEL = "containerd.io/snapshot/max-size";

/** @throws {VeneerError} `invalid argument` with the option and its rule */
export function parseLimits(options: ReadonlyMap<string, string>): SnapshotLimits {
  return {
    bytes: parseSize(options.get("snapshot.size") ?? "0", "snapshot.size"),
    inodes: parseCount(options.get("snapshot.inodes") ?? "0", "snapshot.inodes"),
  };
}

/** The properties of a new snapshot. */
export interface Prepared {
  readonly kind: SnapshotKind;
  readonly name: string;
  /** `""` if there is none. */
  readonly parent: string;
  readonly labels: Labels;
}

/**
 * The limits of a new snapshot: the size in its label, or else the defaults if it is a container's.
 * A view is never written to, so it has none.
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
 * The keys of snapshots that are not containers'. containerd unpacks a layer into `extract-…`. moby
 * makes a container's files such as `/etc/hosts` in `…-init-key`. A client of containerd makes a
 * copy of an image with other owners in `…-remap`.
 */
const NOT_OF_CONTAINERS = /^extract-|-init-key$|-remap$/s;

/** The prefix that containerd adds to its clients' keys: `<namespace>/<number>/<key>`. */
const NAMESPACE = /^[^/]+\/\d+\//;

/**
 * Whether a snapshot is a container's. A container always has a parent; a snapshot without one is
 * for an image layer.
 */
export function isOfContainer({ kind, name, parent }: Prepared): boolean {
  return kind === "active" && parent !== "" && !NOT_OF_CONTAINERS.test(name.replace(NAMESPACE, ""));
}
