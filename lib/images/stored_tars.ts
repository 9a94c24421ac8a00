/**
 * The tars of the layers of a store's own images, by the records that their imports made.
 *
 * @module
 */
import { close, O_DIRECTORY, O_RDONLY } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { RunState } from "../store/run_state.ts";
import { openWithoutLinks } from "../tree/confined.ts";
import type { LayerTars } from "./layer_tars.ts";
import { partsOf, rebuilt } from "./rebuild.ts";
import type { TarRecords } from "./tar_records.ts";
import { temporaryKey } from "./temporary.ts";

/** The tars of a store's layers. Each layer is mounted while its tar is read. */
export function storedTars(
  snapshots: Snapshotter,
  state: RunState,
  records: TarRecords,
): LayerTars {
  return {
    open(diffId, chain, scope) {
      const record = records.open(diffId);
      if (record === undefined) {
        throw new VeneerError(
          "failed precondition",
          "it cannot be written as it came: there is no record of its tar",
        );
      }
      scope.defer(() => close(record.fd));
      return rebuilt(partsOf(record), openLayer(snapshots, state, chain, scope));
    },
    writeNew: (chain, output) => void snapshots.diff(chain, output),
  };
}

/** Opens the tree of a committed layer, which stays mounted until the end of `scope`. */
function openLayer(
  snapshots: Snapshotter,
  state: RunState,
  chain: string,
  scope: DisposableStack,
): number {
  const { key } = scope.use(temporaryKey(state, "image-export"));
  snapshots.view(key, chain);
  scope.defer(() => snapshots.remove(key));
  const path = snapshots.mount(key);
  scope.defer(() => snapshots.unmount(key));
  return scope.adopt(openWithoutLinks(path, O_RDONLY | O_DIRECTORY), close);
}
