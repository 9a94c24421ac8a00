/**
 * Volatile mounts: overlay then never writes a layer's files out, and leaves a mark in the work
 * directory, `work/incompat/volatile`, which keeps the layer from being mounted again: after a
 * crash its files may be half written.
 *
 * The mark is about a crash of the machine, not of a process, so the boot in which a layer is
 * mounted volatile is recorded beside it, in `<id>/volatile`. A mark of this boot is removed, since
 * the page cache is intact. A mark of an earlier boot is left, and its layer refused.
 *
 * @module
 */
import { type ConfinedPath, exists, removeTree } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { readMetadata, removeMetadata, writeFile } from "../../lib/store/metadata.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";

/** In the directory that overlay makes in the work directory it is given. */
const mark = (layer: ConfinedPath) => layer.join("work/work/incompat/volatile");
const bootFile = (layer: ConfinedPath) => layer.join("volatile");

const bootId = () => readSystemFile("/proc/sys/kernel/random/boot_id") ?? "";

/**
 * Before a mount of a layer.
 *
 * @param layer its directory
 * @throws {VeneerError} `failed precondition` if the machine went down while it was mounted
 * volatile
 */
export function prepareVolatile(id: string, layer: ConfinedPath, volatile: boolean): void {
  if (exists(mark(layer))) {
    if (readMetadata(bootFile(layer)) !== bootId()) {
      throw new VeneerError(
        "failed precondition",
        `layer ${id} was mounted volatile when the machine went down, so its files may be half written; ` +
          `remove it, or trust them and delete ${mark(layer)}`,
      );
    }
    clearVolatile(layer);
  }
  if (volatile) writeFile(bootFile(layer), bootId());
}

/** After a layer was unmounted: nothing was lost. */
export function clearVolatile(layer: ConfinedPath): void {
  if (!exists(mark(layer))) return;
  removeTree(mark(layer));
  removeMetadata(bootFile(layer), false);
}
