/**
 * The trees of a store's layers, as the care of contents reads them: directories of the home, or
 * what a driver opens.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY } from "../../ffi/files.ts";
import { tryOpen } from "../tree/confined.ts";
import type { StoreView } from "./store_view.ts";
import type { DriverChecks, LayerTrees } from "./structure.ts";

/** Opens the trees of a store; `undefined` if the driver has no checks of contents. */
export function openTrees(
  view: StoreView,
  checks: DriverChecks | undefined,
  of: "layers" | "snapshots",
): LayerTrees | undefined {
  if (checks?.openTrees !== undefined) return checks.openTrees(view, of);
  const contentOf = checks?.contentOf;
  if (contentOf === undefined) return undefined;
  return {
    // It is the same for all layers of a driver.
    isWhole: contentOf(view, "", of).isWhole,
    path: (id) => contentOf(view, id, of).path,
    open: (id, scope) => {
      const fd = tryOpen(contentOf(view, id, of).path, O_RDONLY | O_DIRECTORY);
      return fd < 0 ? undefined : scope.adopt(fd, close);
    },
    [Symbol.dispose]: () => {},
  };
}
