/**
 * Volatile mounts. With this option overlay does not sync a layer's files, and leaves a mark in the
 * work directory, `work/incompat/volatile`. It refuses to mount a layer with the mark again,
 * because after a crash the files may be half written.
 *
 * Only a crash of the machine matters, not one of a process. So the boot in which a layer is
 * mounted volatile is recorded in `<id>/volatile`. A mark of this boot is removed, because the page
 * cache is intact. A mark of an earlier boot stays, and the layer is refused.
 *
 * @module
 */
import { type ConfinedPath, exists, removeTree } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { readMetadata, removeMetadata, writeFile } from "../../lib/store/metadata.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";

/** The mark, in the directory that overlay makes in its work directory. */
const mark = (layer: ConfinedPath) => layer.join("work/work/incompat/volatile");
const bootFile = (layer: ConfinedPath) => layer.join("volatile");

const bootId = () => readSystemFile("/proc/sys/kernel/random/boot_id") ?? "";

/**
 * To be called before a layer is mounted.
 *
 * @param layer the layer's directory
 * @throws {VeneerError} `failed precondition` if the machine crashed while the layer was mounted
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

/** To be called after a layer was unmounted: removes the mark. */
export function clearVolatile(layer: ConfinedPath): void {
  if (!exists(mark(layer))) return;
  removeTree(mark(layer));
  removeMetadata(bootFile(layer), false);
}
