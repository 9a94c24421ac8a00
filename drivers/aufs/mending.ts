/**
 * Mends a layer's directory before it is mounted again or gets children: adds marks and whiteouts
 * that aufs did not make (`opaque.ts`), and deletes names that only an earlier mount could use
 * (`plink.ts`).
 *
 * Both are done while no mount writes to the directory, because aufs caches its lookups and would
 * not see the changes. From the first mount that can write to the layer until it is mended, the
 * home has a mark:
 *
 * ```text
 * .veneer/unmended/<layer>
 * ```
 *
 * So a process can be killed at any point, and another program may unmount the layer: the next
 * mount or commit of the layer, or the next mount of a child, finds the mark. A layer without the
 * mark is not searched.
 *
 * @module
 */
import { ENOENT, SyscallError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, withFd } from "../../ffi/files.ts";
import { messageOf } from "../../lib/base/errors.ts";
import { sleep } from "../../lib/base/sleep.ts";
import type { Home } from "../../lib/store/home.ts";
import { removeMetadata, writeFile } from "../../lib/store/metadata.ts";
import {
  type ConfinedPath,
  exists,
  list,
  makeDirectory,
  openWithoutLinks,
} from "../../lib/tree/confined.ts";
import type { AufsEnvironment } from "./environment.ts";
import { isWrittenTo } from "./mounted.ts";
import { mendBranch, type MendOptions } from "./opaque.ts";
import { forgetPseudoLinks } from "./plink.ts";
import { ifRoom } from "./room.ts";

/** A layer and its own directory. */
export interface OwnDirectory {
  readonly id: string;
  /** An absolute path. */
  readonly path: string;
}

/** A layer and the layers below it, uppermost first. */
type Chain = readonly OwnDirectory[];

/**
 * The number of checks whether a mount has ended, and the milliseconds between them: aufs ends a
 * mount in the background, some milliseconds after the unmount.
 */
const TRIES = 20, PAUSE = 10;

/** Mends the layers of one home. Callers hold the lock of a chain's first layer. */
export class Mending {
  readonly #marks: ConfinedPath;

  constructor(
    readonly home: Home,
    readonly environment: Pick<AufsEnvironment, "sysfs" | "warn">,
  ) {
    this.#marks = home.own("unmended");
  }

  /**
   * Prepares a chain for a mount.
   *
   * @param writes whether the mount can write to the first layer
   */
  beforeMount(chain: Chain, writes: boolean): void {
    this.#mendMarked(chain);
    if (writes) this.#mark(chain[0]);
  }

  /** Marks a layer, and deletes the pseudo-links of earlier mounts. */
  #mark(layer: OwnDirectory): void {
    const { id, path } = layer;
    ifRoom(() => {
      makeDirectory(this.#marks, 0o700);
      writeFile(this.#marks.join(id), "");
    });
    if (this.#isWrittenTo(layer)) return;
    this.#attempt(`links of layer ${id} from an earlier mount stay`, () => forgetPseudoLinks(path));
  }

  /** Mends the marked layers of a chain to which no mount writes. */
  #mendMarked(chain: Chain): void {
    if (this.home.isReadOnly) return;
    const marked = new Set(list(this.#marks));
    if (marked.size === 0) return;
    // The lowest comes first: a whiteout in a lower layer makes one in the layers above it
    // unnecessary.
    for (let i = chain.length - 1; i >= 0; i--) {
      if (marked.has(chain[i].id) && !this.#isWrittenTo(chain[i])) this.#mend(chain.slice(i));
    }
  }

  /** Mends the first layer after its unmount. If a mount still writes to it, the mark stays. */
  afterUnmount(chain: Chain): void {
    for (let left = TRIES; this.#isWrittenTo(chain[0]); left--) {
      if (left === 0) return;
      sleep(PAUSE);
    }
    this.#mend(chain);
  }

  /**
   * Mends the first layer after a tar was applied to its directory. If it is mounted for writing,
   * it is mended after its unmount.
   *
   * @throws {SyscallError}
   */
  afterApply(chain: Chain): void {
    if (this.#isWrittenTo(chain[0])) return;
    mendDirectory(chain, { applied: true });
    this.forget(chain[0].id);
  }

  /** Mends the first layer, if it has the mark. After the commit no mount writes to it. */
  beforeCommit(chain: Chain): void {
    if (exists(this.#marks.join(chain[0].id))) this.#mend(chain);
  }

  /** Removes the mark of a layer, if there is one. */
  forget(id: string): void {
    removeMetadata(this.#marks.join(id), false);
  }

  /**
   * Mends the first layer and removes its mark. If that fails, there is a warning, and the mark
   * stays.
   */
  #mend(chain: Chain): void {
    const [{ id }] = chain;
    this.#attempt(`layer ${id} may show files deleted below it when it is mounted again`, () => {
      mendDirectory(chain);
      this.forget(id);
    });
  }

  #isWrittenTo({ path }: OwnDirectory): boolean {
    return isWrittenTo(path, this.environment.sysfs);
  }

  /**
   * Runs `act`; a failure becomes a warning. A missing directory is ignored, because the mount
   * reports it.
   */
  #attempt(what: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ENOENT) return;
      this.environment.warn(`${what}: ${messageOf(error)}`);
    }
  }
}

function mendDirectory([own, ...lowers]: Chain, options?: MendOptions): void {
  if (lowers.length === 0) return;
  const open = ({ path }: OwnDirectory) => openWithoutLinks(path, O_RDONLY | O_DIRECTORY);
  const openLowers = lowers.map((lower) => () => open(lower));
  withFd(open(own), (upper) => mendBranch(upper, openLowers, options));
}
