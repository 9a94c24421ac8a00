/**
 * `veneer snapshot umount`: unmounts what `snapshot mount` mounted.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { findKey, isTaken } from "./keys.ts";
import { mountedSnapshots } from "./mounting.ts";

export const run: Run = (context) =>
  context.withSnapshots((snapshotter) => {
    const { operands: [text], output } = context;
    const mounted = mountedSnapshots(context, snapshotter);
    const isDirectory = /^[./]/.test(text) && !isTaken(text, snapshotter);
    const path = isDirectory
      ? mounted.unmountAt(text)
      : mounted.unmount(findKey(context, snapshotter, text));
    output.result({ path }, () => []);
  });
