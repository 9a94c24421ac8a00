/** What the btrfs driver's test files share. */
import * as btrfs from "../../../drivers/btrfs/driver.ts";
import { openDriver } from "../../support/drivers.ts";
import { BTRFS_MAGIC, statfs } from "../../../ffi/statfs.ts";
import type { LayerBackend } from "../../../lib/graph/backend.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import { needs, type TempDir } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";

/** Where cases work. */
export const directory = Deno.env.get("VENEER_TEST_DIR") ?? "/tmp";

const { type, name } = statfs(directory);

/** Why the driver does not run here, if it does not. */
export const lacking = type === BTRFS_MAGIC ? undefined : `it needs btrfs, this is ${name}`;

/** A store to open, and the warnings that came. */
export class TestStore {
  readonly warnings: string[] = [];

  constructor(readonly root: string) {}

  driver(options: string[] = [], idMaps: IdMaps = IDENTITY): GraphDriver {
    const warn = (message: string) => void this.warnings.push(message);
    return openDriver({ root: this.root, driver: "btrfs", options, idMaps, warn });
  }

  backend(): LayerBackend {
    return btrfs.open({ root: this.root, options: new Map(), idMaps: IDENTITY, warn: () => {} });
  }
}

/** Registers a case with a store of its own. */
export function storeCase(
  name: string,
  body: (store: TestStore, dir: TempDir) => void | Promise<void>,
): void {
  needs(lacking, `btrfs: ${name}`, async () => {
    using dir = storeDir();
    await body(new TestStore(`${dir.path}/root`), dir);
  });
}
