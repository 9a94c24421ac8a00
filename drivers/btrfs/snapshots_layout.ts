/**
 * The paths of btrfs snapshots: the seed's layout.
 *
 * ```text
 * <home>/active/<hash of key>           an active snapshot, or a view: a subvolume
 * <home>/snapshots/<hash of name>       a committed one: a read-only subvolume
 * <home>/.veneer/staging/<layer>/…      the source of an empty layer
 * <home>/.veneer/qgroups/<subvolume>    a qgroup that goes when the kernel lets it
 * ```
 *
 * The hash is SHA-224 in hexadecimal. A layer's id is `active.<hash>` or `snapshots.<hash>`.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { ENOENT } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, withFd } from "../../ffi/files.ts";
import {
  type ConfinedPath,
  exists,
  list,
  makeDirectory,
  openDirectory,
  tryOpen,
  unwrapConfined,
} from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";
import type { SnapshotKind } from "../../lib/snapshots/snapshotter.ts";
import { openedSubvolume } from "./layout.ts";

/** The directories of layers. */
export const LAYER_DIRECTORIES = ["active", "snapshots"] as const;

/** The name of one of these directories. */
export type LayerDirectory = typeof LAYER_DIRECTORIES[number];

const LAYER = /^(active|snapshots)\.([0-9a-f]{56})$/;

/** The hash of a key or name, which is used in paths. */
export function hashOf(name: string): string {
  // Loaded here, so that commands without snapshots do not load it.
  const { createHash } = process.getBuiltinModule("node:crypto");
  return createHash("sha224").update(encode(name)).digest("hex");
}

/** Whether a text could be such a hash. */
export function isHash(text: string): boolean {
  return LAYER.test(`active.${text}`);
}

/** The id of the layer of a snapshot. */
export function layerOf(kind: SnapshotKind, name: string): string {
  return layerId(kind === "committed" ? "snapshots" : "active", hashOf(name));
}

export function layerId(directory: LayerDirectory, hash: string): string {
  return `${directory}.${hash}`;
}

/** Paths of one home of snapshots. */
export class SnapshotLayout {
  constructor(readonly home: Home) {}

  /** Makes the missing directories. */
  make(): void {
    for (const name of LAYER_DIRECTORIES) makeDirectory(this.home.join(name), 0o700);
    makeDirectory(this.home.own("qgroups"), 0o700);
  }

  path(layer: string): ConfinedPath {
    const [directory, hash] = parse(layer);
    return this.home.join(directory, hash);
  }

  /**
   * Runs `use` on the open directory of a layer, which need not exist, and on the layer's name in
   * it.
   */
  withPlace<T>(layer: string, use: (directory: number, name: string) => T): T {
    const [directory, hash] = parse(layer);
    return withFd(
      openDirectory(this.home.join(directory)),
      (fd) => use(fd, hash),
    );
  }

  exists(layer: string): boolean {
    return exists(this.path(layer));
  }

  /**
   * Runs `use` on the open root of a snapshot's layer.
   *
   * @throws {VeneerError} `corrupt store` if the layer is missing or not a subvolume
   */
  withLayer<T>(layer: string, use: (subvolume: number) => T): T {
    const path = this.path(layer);
    const remedy = "remove its snapshot";
    const fd = tryOpen(path, O_RDONLY | O_DIRECTORY);
    if (fd === -ENOENT) {
      throw new VeneerError("corrupt store", `${path}, a snapshot's layer, is missing; ${remedy}`);
    }
    return withFd(unwrapConfined(fd, "open", path), (fd) => use(openedSubvolume(fd, path, remedy)));
  }

  /** The sorted ids of all layers, including those that are only staged. */
  list(): string[] {
    const layers = LAYER_DIRECTORIES.flatMap((directory) =>
      list(this.home.join(directory)).filter(isHash).map((hash) => layerId(directory, hash))
    );
    const staged = this.home.staged().filter((name) => LAYER.test(name));
    return [...new Set([...layers, ...staged])].sort();
  }
}

function parse(layer: string): [directory: LayerDirectory, hash: string] {
  const match = LAYER.exec(layer);
  if (match === null) throw new TypeError(`${JSON.stringify(layer)} is not a layer of this driver`);
  return [match[1] as LayerDirectory, match[2]];
}
