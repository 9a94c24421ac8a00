/**
 * `veneer snapshot umount`: undoes `snapshot mount`.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { isMountPoint } from "../../../mount/mountinfo.ts";
import { releaseHome } from "../../../store/private_home.ts";
import type { Run } from "../context.ts";
import { findKey, isTaken } from "./keys.ts";
import { mountedSnapshots } from "./mounting.ts";

export const run: Run = async (context) => {
  const { operands: [text], output } = context;
  const { path, home, state } = await context.readSnapshots((snapshotter) => {
    const mounted = mountedSnapshots(context, snapshotter);
    const { home, state } = mounted;
    const isDirectory = /^[./]/.test(text) && !isTaken(text, snapshotter);
    const unmount = () => mounted.unmount(findKey(context, snapshotter, text));
    const path = isDirectory ? mounted.unmountAt(text) : hinting(text, unmount);
    return { path, home, state };
  });
  // With the database closed, which was opened through the mount that goes here.
  releaseHome(home, state);
  output.result({ path }, () => []);
};

/**
 * Adds how a directory is written, if the word is not a mounted snapshot but the name of a mount
 * point here.
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
