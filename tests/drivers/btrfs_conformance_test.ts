/** The btrfs driver through the conformance suite: without quotas, with full and with simple ones. */
import { BTRFS_MAGIC, statfs } from "../../ffi/statfs.ts";
import { openDriver } from "../../drivers/registry.ts";
import { conformance } from "./conformance.ts";

const { type, name } = statfs(Deno.env.get("VENEER_TEST_DIR") ?? "/tmp");
const lacking = type === BTRFS_MAGIC ? undefined : `it needs btrfs, this is ${name}`;

function run(variant: string, options: string[], lackingQuota?: string): void {
  conformance({
    name: `btrfs${variant}`,
    open: (root, idMaps) => openDriver({ root, driver: "btrfs", options, idMaps, warn: () => {} }),
    lacking,
    // There is none: as many as are worth waiting for.
    maxDepth: 150,
    lackingQuota,
  });
}

run("", ["btrfs.quota=off"], "btrfs.quota=off: with quotas it ran");
run(" with quotas", ["btrfs.min_space=1M"]);
