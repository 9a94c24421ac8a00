/**
 * Removes the run-time state of homes that are gone.
 *
 * @module
 */
import { tryLock } from "../../ffi/flock.ts";
import { tryLstat as lstatTrusted } from "../../ffi/stat.ts";
import { messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import { type ConfinedPath, isDirectory, list, removeTree } from "../tree/confined.ts";
import { readMetadata } from "./metadata.ts";
import { mountNamespace } from "./mount_namespace.ts";
import { RUN_ROOT, RunRoot, stateName } from "./run_root.ts";

/**
 * The form of a home's {@linkcode stateName}. Other names there are not states, such as a socket.
 */
const STATE_NAME = /^\d+\.\d+-\d+$/;

/**
 * Removes the run-time state of homes that are gone. No mount can exist of such a home, so its
 * state is useless. Only homes of this mount namespace are checked: those of another, such as a
 * container's that shares `/run`, are not visible here. Does nothing if another process is doing
 * it.
 *
 * @param warn gets a line about each state that cannot be read or removed; the others are still
 * removed
 */
export function pruneRunStates(warn: Warn): void {
  using run = new RunRoot();
  if (!tryLock(run.fd, "exclusive", RUN_ROOT)) return;
  for (const name of list(run.root.join()).filter((name) => STATE_NAME.test(name))) {
    const state = run.root.join(name);
    try {
      if (isDirectory(state) && isOfGoneHome(state)) removeTree(state);
    } catch (error) {
      warn(`${state} is not removed: ${messageOf(error)}`);
    }
  }
}

function isOfGoneHome(state: ConfinedPath): boolean {
  const birth = readMetadata(state.join("birth"));
  const [, namespace, path] = /^\d+ (\d+) (.*)$/s.exec(birth ?? "") ?? [];
  if (namespace !== mountNamespace()) return false;
  const home = lstatTrusted(path);
  return home === undefined ||
    stateName(`${home.devMajor}:${home.devMinor}`, home.inode) !== state.name;
}
