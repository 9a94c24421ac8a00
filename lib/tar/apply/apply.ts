/**
 * Applies a tar to a layer.
 *
 * The tar is hostile until proven otherwise: it can fill the layer with anything, but cannot reach
 * outside the layer's root (`placement.ts`), and a fault in it becomes one error that names the
 * entry. Memory does not grow with the layer but for a few bytes a directory.
 *
 * Applying is not atomic: the caller marks the layer incomplete before and complete after.
 *
 * @module
 */
import { umask } from "../../../ffi/process.ts";
import { Applier } from "./applier.ts";
import type { Applied, ApplyOptions } from "./apply_options.ts";
import { openTarInput, TarInput } from "../read/input.ts";

export type { Applied, ApplyOptions };
export { openTarInput, TarInput };

/**
 * Applies a tar to a layer.
 *
 * @param input a descriptor of a tar (file, pipe, socket), plain, gzip or zstd, which stays the
 *                  caller's; or the result of {@linkcode openTarInput}, which is closed
 * @param directory the layer's root, open for reading
 * @throws {VeneerError} `invalid argument` for a tar that is damaged or impossible to apply
 * @throws {SyscallError} if the system refuses, naming the entry
 */
export function applyTar(
  input: number | TarInput,
  directory: number,
  options: ApplyOptions,
): Applied {
  const source = typeof input === "number" ? openTarInput(input) : input;
  const mask = umask(0);
  try {
    const applier = new Applier(source, directory, options);
    try {
      return applier.run();
    } finally {
      applier.close();
    }
  } finally {
    umask(mask);
    source.close();
  }
}
