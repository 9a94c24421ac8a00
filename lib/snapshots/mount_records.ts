/**
 * Which mounts of snapshots are Veneer's own: a file for each, in the run-time state of the home.
 *
 * ```text
 * /run/veneer/<home>/snapshot-mounts/<random>    layer, target, namespace; then device and root
 * ```
 *
 * A record is written without a device before its mount is made, and again with the device after
 * it. A record without a device was left by a killed command. A record stays after the unmount as
 * long as another mount namespace has a copy of the mount, which it inherited at its creation; such
 * a copy is not a use of the snapshot.
 *
 * Writers hold the lock of the mounts (`mounted_snapshots.ts`); reading needs no lock.
 *
 * @module
 */
import { type ConfinedPath, list, makeDirectory } from "../tree/confined.ts";
import {
  readMetadata,
  removeMetadata,
  TEMPORARY_SUFFIX,
  writeMetadata,
} from "../store/metadata.ts";
import type { MountInfo } from "../mount/mountinfo.ts";
import { mountNamespace, type RunState } from "../store/run_state.ts";
import type { IsNoUse } from "./backend.ts";
import { mountsEverywhere } from "../mount/uses.ts";

/** A mount of a layer: its place and its namespace. */
export interface MountRecord {
  readonly layer: string;
  /** The mount point, absolute. */
  readonly target: string;
  /** The inode of the mount namespace in which it was made. */
  readonly namespace: string;
  /** Its ids in mountinfo; absent until it is made. */
  readonly device?: string;
  readonly root?: string;
  /** Whether Veneer unmounted it, so that only copies can be left. */
  readonly ended?: boolean;
}

/** A record and the file that it is in. */
interface Stored extends MountRecord {
  readonly file: ConfinedPath;
}

/** The records of one home. */
export class MountRecords {
  readonly #directory: ConfinedPath;

  constructor(state: RunState) {
    this.#directory = state.path("snapshot-mounts");
  }

  /**
   * Records the mount of a layer at a directory of this namespace while `mount` makes it.
   *
   * @param mount mounts the layer and returns the mount
   */
  around(layer: string, target: string, mount: () => MountInfo): void {
    makeDirectory(this.#directory, 0o700);
    const file = this.#directory.join(crypto.randomUUID());
    const record = { layer, target, namespace: mountNamespace() };
    write(file, record);
    try {
      const { device, root } = mount();
      write(file, { ...record, device, root });
    } catch (error) {
      removeMetadata(file, false);
      throw error;
    }
  }

  /** The records, of one layer or of all. */
  list(layer?: string): Stored[] {
    return this.#names().flatMap((name) => {
      const file = this.#directory.join(name);
      const record = parse(readMetadata(file));
      return record && (layer ?? record.layer) === record.layer ? [{ ...record, file }] : [];
    });
  }

  /** The names of complete records; other names are of processes killed while writing. */
  #names(): string[] {
    return list(this.#directory).filter((name) => !name.endsWith(TEMPORARY_SUFFIX));
  }

  /** The records of a layer whose mounts a killed command may have made in this namespace. */
  unfinished(layer?: string): Stored[] {
    return this.list(layer).filter(({ device, namespace }) =>
      device === undefined && namespace === mountNamespace()
    );
  }

  /** Removes a record. */
  forget({ file }: Stored): void {
    removeMetadata(file, false);
  }

  /** Removes the records of finished mounts that are in no mount namespace any more. */
  prune(layer?: string): void {
    const finished = this.list(layer).filter(({ device }) => device !== undefined);
    if (finished.length === 0) return;
    const there = new Set<Stored>();
    for (const { mount } of mountsEverywhere()) {
      for (const record of finished) if (isOf(mount, record)) there.add(record);
    }
    for (const record of finished) if (!there.has(record)) this.forget(record);
  }

  /**
   * Returns a test for mounts that are not uses of a layer: copies of Veneer's mounts in namespaces
   * that inherited them, and Veneer's mounts of other layers, which may be made of the same
   * directories.
   */
  othersThan(layer: string): IsNoUse {
    const records = this.list();
    return ({ mount, namespace }, isShared = false) =>
      records.some((record) => {
        if (!isOf(mount, record)) return false;
        // A record may be older than the mount, whose id may be that of an earlier mount unmounted
        // by another program.
        if (record.layer !== layer) return isShared && mount.mountPoint === record.target;
        return record.ended === true && record.namespace !== namespace;
      });
  }

  /**
   * Marks the records of Veneer's unmounted mounts at a directory of this namespace as finished,
   * and removes those without copies.
   */
  end(target: string): void {
    for (const record of this.list()) {
      if (record.target !== target || record.namespace !== mountNamespace()) continue;
      const { file, ...rest } = record;
      if (record.device === undefined) this.forget(record);
      else write(file, { ...rest, ended: true });
      this.prune(record.layer);
    }
  }
}

/** File systems that give each new mount its own device number, which copies of the mount share. */
const UNIONS = ["overlay", "aufs"];

function isOf({ type, device, root, mountPoint }: MountInfo, record: MountRecord): boolean {
  if (device !== record.device) return false;
  return UNIONS.includes(type) || (root === record.root && mountPoint === record.target);
}

function write(file: ConfinedPath, record: MountRecord): void {
  writeMetadata(file, JSON.stringify(record));
}

/** `undefined` if it was removed after it was listed. */
function parse(text: string | undefined): MountRecord | undefined {
  return text === undefined ? undefined : JSON.parse(text);
}
