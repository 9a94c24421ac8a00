/** Confined paths, with a test's directory as their root. */
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { type ConfinedPath, ConfinedRoot } from "../../lib/tree/confined.ts";

/** A directory as a root, and a path below it. */
export function confinedAt(directory: string, ...parts: string[]): ConfinedPath {
  const root = withFd(
    open(directory, O_RDONLY | O_DIRECTORY),
    (fd) => ConfinedRoot.of(directory, fd),
  );
  return root.join(...parts);
}
