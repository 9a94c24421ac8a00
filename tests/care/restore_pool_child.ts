/**
 * What the kill test of `repair --from DUMP` kills.
 *
 *     restore_pool_child.ts ROOT DUMP [OPTION…]
 */
import { devicemapper } from "../../drivers/devicemapper/mod.ts";
import { parseOptions } from "../../lib/base/options.ts";
import { restorePoolOf } from "../../lib/care/pool_restoration.ts";
import { beginHere, endHere } from "../drivers/kill/killer.ts";

if (import.meta.main) {
  const [root, dump, ...words] = Deno.args;
  const checks = await devicemapper.loadChecks!(), options = parseOptions(words);
  beginHere("killer");
  restorePoolOf({ root, driver: "devicemapper", of: "layers", checks, options }, dump, false);
  endHere(0);
}
