/**
 * The locks on a layer: on all of it, and on its content for the time of a transfer. `run_state.ts`
 * explains the rules.
 *
 * @module
 */
import { close, O_CREAT, O_RDWR, pread, pwriteAll } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { type ConfinedPath, open, tryUnlink, unlink } from "../tree/confined.ts";
import {
  decodeReferences,
  encodeReferences,
  RECORD_LENGTH,
  type References,
  UNUSED,
} from "./mount_record.ts";

/** A hold on a layer's content, for the time of a transfer. */
export class Use implements Disposable {
  constructor(readonly fd: number, readonly path: ConfinedPath) {}

  /**
   * Whether this is the layer's only transfer. The caller holds the layer's lock. The hold may be
   * lost, so call this at the end of the transfer.
   */
  isLast(): boolean {
    // Held shared again at once: others may begin, and wait for the layer's lock.
    return tryLock(this.fd, "exclusive", this.path.text) &&
      tryLock(this.fd, "shared", this.path.text);
  }

  [Symbol.dispose](): void {
    // Only the last holder may remove the name, the one that gets the lock exclusively. Another may
    // have done so while this one changed its lock.
    if (tryLock(this.fd, "exclusive") && isCurrent(this.fd)) tryUnlink(this.path);
    close(this.fd);
  }
}

/** An exclusive hold on a layer, and its reference count. */
export class LayerLock implements Disposable {
  #record: References | undefined;

  private constructor(readonly fd: number, readonly path: ConfinedPath) {}

  /** Opens the lock file, not locked yet. */
  static open(path: ConfinedPath): LayerLock {
    return new LayerLock(open(path, O_RDWR | O_CREAT, 0o600), path);
  }

  /**
   * Looks at the file that has just been locked; returns whether the name still leads to it, since its
   * last holder may have removed it. An empty one is not read again for its references.
   */
  look(): boolean {
    const isThere = isCurrent(this.fd);
    if (isThere && opened.size === 0) this.#record = UNUSED;
    return isThere;
  }

  /** How often `get` was called without a `put`. */
  get references(): References {
    if (this.#record) return this.#record;
    const buffer = new Uint8Array(RECORD_LENGTH);
    const length = pread(this.fd, buffer, RECORD_LENGTH, 0n);
    return this.#record = decodeReferences(buffer.subarray(0, length));
  }

  /** Recorded at once and as a whole. */
  set references(references: References) {
    this.#record = references;
    pwriteAll(this.fd, encodeReferences(references), 0n);
  }

  /** Unlocks; a layer without references or a mount of transfers leaves no file behind. */
  [Symbol.dispose](): void {
    const { count, namespace } = this.references;
    if (count === 0 && namespace === "") unlink(this.path);
    close(this.fd);
  }
}

const opened = new Stat();

/** Whether an open file of a lock still has its name. It has only one, and no file takes its place. */
export const isCurrent = (fd: number): boolean => fstat(fd, opened).links > 0;
