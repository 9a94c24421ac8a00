/**
 * The changes of a layer of a Docker store.
 *
 * @module
 */
import { type Delta, nativeDelta, treeDelta } from "../../tar/export/delta.ts";
import type { DockerTrees } from "./trees.ts";

/**
 * Opens the changes of a layer; `scope` closes them.
 *
 * @param names the names of the layer and of those below it in the driver's home, uppermost first
 */
export function deltaOf(
  trees: DockerTrees,
  [own, ...below]: readonly [string, ...string[]],
  scope: DisposableStack,
): Delta {
  const root = trees.open(own, scope);
  if (trees.form === "none") {
    return treeDelta(root, below.length === 0 ? undefined : trees.open(below[0], scope));
  }
  const lowers = below.map((name) => trees.open(name, scope));
  return nativeDelta({ kind: "upper", upper: root, lowers, form: trees.form });
}
