/**
 * Size limits by qgroups, and the removal of qgroups of removed subvolumes.
 *
 * Quotas slow down every write to the file system. So they are turned on for the first limit, which
 * is recorded; if no limit is left, `cleanup` turns quotas off, provided that Veneer turned them
 * on.
 *
 * The kernel keeps a removed subvolume's qgroup busy until its cleaner has freed the subvolume, and
 * some kernels never remove it. So the id is recorded before the subvolume is removed, and every
 * later operation tries to remove the qgroup, until it is gone.
 *
 * @module
 */
import {
  disableQuota,
  isRescanning,
  limitedQgroups,
  qgroupUsage,
  quotaStatus,
  startRescan,
  tryEnableQuota,
  tryLimitReferenced,
  tryRemoveQgroup,
  tryUnlimitReferenced,
} from "../../ffi/btrfs_quota.ts";
import { subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { commit } from "../../ffi/btrfs_volume.ts";
import { EBUSY, EINVAL, ENOENT, ENOTCONN } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { type ConfinedPath, exists, list } from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";
import { removeMetadata, writeFile, writeMetadata } from "../../lib/store/metadata.ts";
import { formatSize } from "../../lib/base/sizes.ts";
import { sleep } from "../../lib/base/sleep.ts";
import type { QuotaChoice } from "./options.ts";
import type { Warn } from "../../lib/base/warn.ts";

/** The name of a removed subvolume's qgroup's record: the subvolume's id. Others are strays. */
const QGROUP_RECORD = /^\d{1,19}$/;

/**
 * The longest wait for the kernel to count existing data after quotas were turned on, in
 * milliseconds.
 */
const RESCAN_PATIENCE = 10_000;

/** The longest wait of `cleanup` for the kernel to free removed subvolumes, in milliseconds. */
const CLEANER_PATIENCE = 5_000;

/** The drawbacks of simple quotas, as a warning. */
const SIMPLE_WARNING =
  "btrfs.quota=simple: limits do not count inherited data, and turning them on sets the simple_quota " +
  "feature: kernels before 6.7 then refuse to mount this file system";

/** The quotas of the file system that a home lies on. */
export class Quota {
  constructor(
    readonly home: Home,
    readonly choice: QuotaChoice,
    readonly warn: Warn,
  ) {}

  #withVolume<T>(use: (volume: number) => T): T {
    return withFd(open(this.home.path, O_RDONLY | O_DIRECTORY), use);
  }

  /**
   * Turns quotas on if they are off.
   *
   * @param what the option or layer that needs them, for messages
   * @throws {VeneerError} `not supported` if `btrfs.quota=off`, or if the kernel has no simple
   * quotas
   */
  enable(what: string): void {
    if (this.choice === "off") {
      throw new VeneerError(
        "not supported",
        `${what} needs quotas, which btrfs.quota=off rules out; leave that option out`,
      );
    }
    this.#withVolume((volume) => {
      const { mode } = quotaStatus(volume);
      if (mode === "off") {
        return this.#turnOn(volume, this.choice === "simple" ? "simple" : "qgroup");
      }
      if (mode === this.choice) return;
      this.warn(
        mode === "simple"
          ? "simple quotas are on here already: limits do not count inherited data"
          : "full qgroups are on here already: btrfs.quota=simple changes nothing",
      );
    });
  }

  #turnOn(volume: number, mode: "qgroup" | "simple"): void {
    const result = tryEnableQuota(volume, mode);
    if (result === -EINVAL && mode === "simple") {
      throw new VeneerError(
        "not supported",
        `kernel ${Deno.osRelease()} has no simple quotas, which are in Linux 6.7 and later; leave btrfs.quota out`,
      );
    }
    unwrap(result, "ioctl BTRFS_IOC_QUOTA_CTL", this.home.path);
    if (mode === "simple") this.warn(SIMPLE_WARNING);
    // Recorded afterwards: after a kill between the two steps quotas stay on. In the other order,
    // another program's quotas could be turned off.
    writeMetadata(this.#ours, mode);
    if (mode === "qgroup") awaitRescan(volume, this.home.path);
  }

  /** The record, which exists if Veneer turned quotas on. */
  get #ours(): ConfinedPath {
    return this.home.own("quota");
  }

  /**
   * Refuses a limit below the size of a new subvolume's inherited data: with such a limit nothing
   * could be written, and no other limit could be set. Simple quotas do not count inherited data,
   * and inconsistent counts are not used.
   *
   * @param subvolume an open subvolume that was just made as a snapshot of the parent
   * @throws {VeneerError} `invalid argument`
   */
  checkInherited(subvolume: number, bytes: number, parent: string): void {
    const { mode, inconsistent } = quotaStatus(subvolume);
    if (mode !== "qgroup" || inconsistent) return;
    const referenced = qgroupUsage(subvolume, subvolumeInfo(subvolume).id)?.referenced ?? 0;
    if (bytes >= referenced) return;
    throw new VeneerError(
      "invalid argument",
      `size ${formatSize(bytes)} is less than the ${formatSize(referenced)} ` +
        `that it inherits from ${parent}; ask for more`,
    );
  }

  /**
   * Limits the data that an open subvolume may refer to, unless it has this limit: the kernel sets
   * no limit on a subvolume that exceeds one. If its counts are inconsistent, a rescan is started.
   *
   * @param path of the subvolume, for messages
   */
  limit(subvolume: number, bytes: number, path: string): void {
    const { mode, inconsistent } = quotaStatus(subvolume);
    if (mode === "off") return;
    const usage = qgroupUsage(subvolume, subvolumeInfo(subvolume).id);
    if (usage?.maxReferenced !== bytes) {
      const result = tryLimitReferenced(subvolume, bytes);
      if (result === -ENOTCONN) return;
      unwrap(result, "ioctl BTRFS_IOC_QGROUP_LIMIT", path);
    }
    if (mode === "qgroup" && inconsistent && !isRescanning(subvolume, path)) {
      startRescan(subvolume, path);
    }
  }

  /**
   * Limits the data that a new subvolume may refer to beyond its inherited data. If its counts are
   * inconsistent, the inherited data may be counted too low, and the subvolume has less room.
   *
   * @param path of the subvolume, for messages
   */
  limitOwn(subvolume: number, bytes: number, path: string): void {
    const usage = qgroupUsage(subvolume, subvolumeInfo(subvolume).id);
    this.limit(subvolume, (usage?.referenced ?? 0) + bytes, path);
  }

  /**
   * Removes the limit that a new subvolume has from its source: the kernel copies limits to
   * snapshots.
   *
   * @param path of the subvolume, for messages
   */
  unlimit(subvolume: number, path: string): void {
    if (quotaStatus(subvolume).mode === "off") return;
    const usage = qgroupUsage(subvolume, subvolumeInfo(subvolume).id);
    if (usage?.maxReferenced === undefined) return;
    const result = tryUnlimitReferenced(subvolume);
    if (result !== -ENOTCONN) unwrap(result, "ioctl BTRFS_IOC_QGROUP_LIMIT", path);
  }

  /**
   * Returns a function that records a subvolume's qgroup, to be called right before the subvolume
   * is removed. No sync is needed: the transaction that removes the subvolume includes the record.
   */
  doomer(): (subvolume: bigint) => void {
    if (this.#withVolume(quotaStatus).mode === "off") return () => {};
    return (subvolume) => writeFile(this.#doomed(subvolume), "");
  }

  #doomed(subvolume: bigint | string): ConfinedPath {
    return this.home.own("qgroups", String(subvolume));
  }

  /**
   * Removes the qgroups of removed subvolumes, except those that the kernel keeps busy; returns the
   * number of the latter.
   */
  sweep(): number {
    const doomed = list(this.home.own("qgroups")).filter((name) => QGROUP_RECORD.test(name));
    if (doomed.length === 0) return 0;
    return this.#withVolume((volume) =>
      doomed.filter((name) => {
        const result = tryRemoveQgroup(volume, BigInt(name));
        if (result === -EBUSY) return true;
        if (result !== -ENOENT && result !== -ENOTCONN) {
          unwrap(result, "ioctl BTRFS_IOC_QGROUP_CREATE", `0/${name}`);
        }
        removeMetadata(this.#doomed(name), false);
        return false;
      }).length
    );
  }

  /**
   * Removes left-over qgroups, with a bounded wait for the kernel's cleaner. Turns quotas off if
   * Veneer turned them on and no limit is left.
   *
   * @param wanted whether the store itself still needs quotas
   */
  close(wanted: boolean): void {
    this.#withVolume((volume) => {
      const deadline = performance.now() + CLEANER_PATIENCE;
      while (this.sweep() > 0 && performance.now() < deadline) {
        commit(volume);
        sleep(50);
      }
      if (!exists(this.#ours) || wanted) return;
      const doomed = new Set(list(this.home.own("qgroups")));
      const others = limitedQgroups(volume).filter((id) => !doomed.has(String(id)));
      if (others.length > 0) return;
      if (quotaStatus(volume).mode !== "off") disableQuota(volume, this.home.path);
      removeMetadata(this.#ours);
      this.sweep();
    });
  }
}

/**
 * Waits for a rescan to end, at most {@linkcode RESCAN_PATIENCE}: on a large file system it goes on
 * in the kernel.
 */
function awaitRescan(volume: number, path: string): void {
  const deadline = performance.now() + RESCAN_PATIENCE;
  for (let pause = 1; isRescanning(volume, path); pause = Math.min(pause * 2, 100)) {
    if (performance.now() > deadline) return;
    sleep(pause);
  }
}
