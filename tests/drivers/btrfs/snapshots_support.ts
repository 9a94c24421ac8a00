/** What the test files of btrfs snapshots share. */
import * as btrfs from "../../../drivers/btrfs/driver.ts";
import { removeSubvolume } from "../../../drivers/btrfs/subvolumes.ts";
import { createSnapshot, createSubvolume } from "../../../ffi/btrfs_subvolume.ts";
import { entryName } from "../../../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import type { LayerChain, SnapshotBackend } from "../../../lib/snapshots/backend.ts";
import type { SnapshotKind } from "../../../lib/snapshots/snapshotter.ts";
import { must, needs, run, type TempDir, tempDir } from "../../support/cases.ts";
import { lacking } from "./support.ts";

/** A home of snapshots below a directory, the backend of which is opened anew where other options are wanted. */
export class SnapshotHome {
  readonly warnings: string[] = [];
  readonly root: string;
  readonly home: string;
  readonly backend: SnapshotBackend;

  constructor(readonly directory: string) {
    this.root = `${directory}/root`;
    this.home = `${this.root}/snapshots/btrfs`;
    this.backend = this.open();
  }

  open(options: Record<string, string> = {}, idMaps: IdMaps = IDENTITY): SnapshotBackend {
    const warn = (message: string) => void this.warnings.push(message);
    return btrfs.openSnapshots({
      root: this.root,
      options: new Map(Object.entries(options)),
      idMaps,
      warn,
    });
  }

  /** A snapshot and those below it, by name, the nearest first. */
  chain(kind: SnapshotKind, name: string, ...parents: string[]): LayerChain {
    const layer = (kind: SnapshotKind, name: string) => this.backend.layerFor(kind, name)!;
    return { layer: layer(kind, name), kind, parents: parents.map((p) => layer("committed", p)) };
  }

  path({ layer }: LayerChain): string {
    return `${this.home}/${layer.replace(".", "/")}`;
  }

  /** Makes an active snapshot; returns it and where it lies. */
  prepare(name: string, ...parents: string[]): { chain: LayerChain; path: string } {
    const chain = this.chain("active", name, ...parents);
    this.backend.prepare(chain);
    return { chain, path: this.path(chain) };
  }

  /** Makes a committed snapshot with what `fill` makes of its parent; returns it and where it lies. */
  commit(
    name: string,
    fill: (path: string) => void,
    ...parents: string[]
  ): { chain: LayerChain; path: string } {
    const active = this.prepare(`of ${name}`, ...parents);
    fill(active.path);
    const chain = this.chain("committed", name, ...parents);
    this.backend.freeze(active.chain, chain.layer);
    this.backend.remove(active.chain.layer);
    return { chain, path: this.path(chain) };
  }
}

/** Registers a case with a home of its own. */
export function snapshotCase(
  name: string,
  body: (home: SnapshotHome, dir: TempDir) => void | Promise<void>,
  alsoLacking?: string,
): void {
  needs(lacking ?? alsoLacking, `btrfs snapshots: ${name}`, async () => {
    using dir = subvolumesDir();
    await body(new SnapshotHome(dir.path), dir);
  });
}

/** A directory of a case's own, in which there may be read-only subvolumes. */
function subvolumesDir(): TempDir {
  const dir = tempDir();
  return {
    path: dir.path,
    [Symbol.dispose]() {
      for (const name of ["active", "snapshots"]) {
        const path = `${dir.path}/root/snapshots/btrfs/${name}`;
        for (const { name: entry } of [...Deno.readDirSync(path)]) {
          inDirectory(path, (fd) => removeSubvolume(fd, entry, () => {}));
        }
      }
      dir[Symbol.dispose]();
    },
  };
}

export function inDirectory<T>(path: string, use: (fd: number) => T): T {
  return withFd(open(path, O_RDONLY | O_DIRECTORY), use);
}

export const makeSubvolume = (directory: string, name: string): void =>
  inDirectory(directory, (fd) => createSubvolume(fd, entryName(name)));

export function makeSnapshot(
  source: string,
  directory: string,
  name: string,
  options?: { readOnly: boolean },
): void {
  inDirectory(
    directory,
    (fd) =>
      inDirectory(source, (subvolume) => createSnapshot(fd, entryName(name), subvolume, options)),
  );
}

/** Mounts as containerd would, by mount(8), runs `use` and takes it down. */
export function mounted<T>(
  [mount]: readonly { type: string; source: string; options: readonly string[] }[],
  target: string,
  use: () => T,
): T {
  Deno.mkdirSync(target, { recursive: true });
  must("mount", "-t", mount.type, "-o", mount.options.join(","), mount.source, target);
  try {
    return use();
  } finally {
    run("umount", target);
  }
}
