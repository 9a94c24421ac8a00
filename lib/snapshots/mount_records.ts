/**
 * Records of Veneer's own mounts of snapshots: a file for each, in the run-time state of the home.
 *
 * ```text
 * /run/veneer/<home>/snapshot-mounts/<random>    layer, target, namespace; then device and root
 * ```
 *
 * A record is written without a device before the mount is made, and with the device afterwards. So
 * if a record has no device and no command is mounting, a killed command left it. After the unmount
 * a record stays as long as another mount namespace has a copy of the mount, inherited when the
 * namespace was created. Such a copy is not a use of the snapshot.
 *
 * Writers hold the lock of the mounts (`mounted_snapshots.ts`). Reading needs no lock.
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
import { mountNamespace } from "../store/mount_namespace.ts";
import type { RunState } from "../store/run_state.ts";
import type { IsNoUse } from "./backend.ts";
import { mountsEverywhere } from "../mount/uses.ts";

/** A mount of a layer. */
export interface MountRecord {
  readonly layer: string;
  /** The absolute path of the mount point. */
  readonly target: string;
  /** The inode number of the mount namespace in which it was made. */
  readonly namespace: string;
  /** Its device and root in mountinfo; absent until the mount is made. */
  readonly device?: string;
  readonly root?: string;
  /** Whether Veneer has unmounted it, so that only copies can remain. */
  readonly ended?: boolean;
}

/** A record and its file. */
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
   * Runs `mount`, and records the mount of a layer at a directory of this namespace around it.
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

  /** The records of one layer, or of all layers. */
  list(layer?: string): Stored[] {
    return this.#names().flatMap((name) => {
      const file = this.#directory.join(name);
      const record = parse(readMetadata(file));
      return record && (layer ?? record.layer) === record.layer ? [{ ...record, file }] : [];
    });
  }

  /** The names of complete records. Other files were left by processes killed while writing. */
  #names(): string[] {
    return list(this.#directory).filter((name) => !name.endsWith(TEMPORARY_SUFFIX));
  }

  /**
   * The records of a layer, or of all, whose mounts a killed command may have made in this
   * namespace.
   */
  unfinished(layer?: string): Stored[] {
    return this.list(layer).filter(({ device, namespace }) =>
      device === undefined && namespace === mountNamespace()
    );
  }

  /** Removes a record. */
  forget({ file }: Stored): void {
    removeMetadata(file, false);
  }

  /** Removes the records of mounts that no longer exist in any mount namespace. */
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
   * that inherited them, and Veneer's mounts of other layers, which may have the same directories.
   */
  othersThan(layer: string): IsNoUse {
    const records = this.list();
    return ({ mount, namespace }, isShared = false) =>
      records.some((record) => {
        if (!isOf(mount, record)) return false;
        // The record may be of an earlier mount with the same device that another program has
        // unmounted.
        if (record.layer !== layer) return isShared && mount.mountPoint === record.target;
        return record.ended === true && record.namespace !== namespace;
      });
  }

  /**
   * Marks the records of Veneer's unmounted mounts at a directory of this namespace as ended, and
   * removes those without copies.
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

/**
 * The file systems that give each new mount its own device number. Copies of the mount have the
 * same number.
 */
const UNIONS = ["overlay", "aufs"];

function isOf({ type, device, root, mountPoint }: MountInfo, record: MountRecord): boolean {
  if (device !== record.device) return false;
  return UNIONS.includes(type) || (root === record.root && mountPoint === record.target);
}

function write(file: ConfinedPath, record: MountRecord): void {
  writeMetadata(file, JSON.stringify(record));
}

/** Parses a record; `undefined` if it was removed after it was listed. */
function parse(text: string | undefined): MountRecord | undefined {
  return text === undefined ? undefined : JSON.parse(text);
}
