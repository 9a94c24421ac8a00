/**
 * The stores that `check`, `repair` and `gc` work on: those of all drivers at a root, or those of a
 * service.
 *
 * @module
 */
import { join } from "@std/path";
import { AUTO, DRIVERS } from "../../drivers/names.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { parseOptions } from "../base/options.ts";
import type { CheckedStore } from "../care/check.ts";
import type { CommandContext } from "./commands/context.ts";
import { hasStore, requireStore } from "./existing_store.ts";
import { serviceName, SERVICES } from "./service_name.ts";

/**
 * Finds the stores, and loads their drivers' checks.
 *
 * @throws {VeneerError} `not found` if no store exists
 */
export async function checkedStores(
  { root, options }: CommandContext,
): Promise<CheckedStore[]> {
  const service = options.value("service");
  const below = service === undefined
    ? root
    : join(root, SERVICES, serviceName(service, "service"));
  if (service !== undefined) requireStore(below, "snapshots");
  else if (!hasStore(root, "snapshots")) requireStore(root, "layers");
  const driver = options.value("driver") ?? AUTO;
  const kinds = service === undefined ? ["layers", "snapshots"] as const : ["snapshots"] as const;
  const stores: CheckedStore[] = [];
  const given = parseOptions(options.values("option"));
  for (const { name, loadChecks, optionKeys } of DRIVERS) {
    if (driver !== AUTO && driver !== name) continue;
    for (const of of kinds) {
      const home = of === "layers" ? join(below, name) : join(below, "snapshots", name);
      if (tryLstat(home)?.isDirectory !== true) continue;
      stores.push({
        root: below,
        driver: name,
        of,
        checks: await loadChecks?.(),
        options: new Map([...given].filter(([key]) => optionKeys.includes(key))),
      });
    }
  }
  if (stores.length > 0) return stores;
  throw new VeneerError("not found", `there is no store of ${driver} at ${below}`, {
    remedy: { kind: "other root" },
  });
}
