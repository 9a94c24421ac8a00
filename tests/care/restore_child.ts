/**
 * What the kill test of `repair --from` kills.
 *
 *     restore_child.ts ROOT TAR
 */
import { O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { DRIVERS } from "../../drivers/names.ts";
import { restoreLayer } from "../../lib/care/restore.ts";
import { restoredLayers } from "../../lib/care/restored_store.ts";
import { untilKilled } from "../drivers/kill/point.ts";
import { openDriver } from "../support/drivers.ts";

/** Loads what restores layer `app` of an overlay2 store from its tar. */
export async function restorer(): Promise<(root: string, tar: string) => void> {
  const [{ loadChecks }] = DRIVERS;
  const checks = await loadChecks?.();
  return (root, tar) => {
    const store = { root, driver: "overlay2", of: "layers", checks } as const;
    using driver = openDriver({ root, driver: "overlay2", warn: () => {} });
    withFd(
      open(tar, O_RDONLY),
      (source) => restoreLayer({ store, layers: restoredLayers(driver), id: "app", source }),
    );
  };
}

if (import.meta.main) {
  const [root, tar] = Deno.args;
  const restore = await restorer();
  untilKilled(() => restore(root, tar));
}
