/**
 * `veneer snapshot umount`: undoes `snapshot mount`.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { isMountPoint } from "../../../mount/mountinfo.ts";
import type { Run } from "../context.ts";
import { findKey, isTaken } from "./keys.ts";

export const run: Run = async (context) => {
  const { operands: [text], output } = context;
  const path = await context.readSnapshots((snapshotter) => {
    const isDirectory = /^[./]/.test(text) && !isTaken(text, snapshotter);
    const unmount = () => snapshotter.unmount(findKey(context, snapshotter, text));
    return isDirectory ? snapshotter.unmountAt(text) : hinting(text, unmount);
  });
  output.result({ path }, () => []);
};

/**
 * Adds a hint to an error: if the word is not a mounted snapshot, but the name of a mount point
 * here, it explains the form for directories.
 */
function hinting<T>(text: string, unmount: () => T): T {
  try {
    return unmount();
  } catch (error) {
    const isMissing = error instanceof VeneerError &&
      (error.code === "not found" || error.code === "failed precondition");
    if (!isMissing || text === "" || text.includes("\0") || !isMountPoint(text)) throw error;
    const [fact] = error.message.split("; ", 1);
    throw new VeneerError(error.code, `${fact}; to unmount the directory, write ./${text}`);
  }
}
