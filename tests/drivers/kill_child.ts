/**
 * What the kill tests kill: opens a store, waits to be traced, does one operation, and marks its end with a
 * system call that a trace shows.
 *
 *     kill_child.ts ROOT DRIVER OPERATION [TAR]
 */
import { openDriver } from "../../drivers/registry.ts";
import { AT_FDCWD, O_RDONLY, O_WRONLY, open, tryOpenat } from "../../ffi/files.ts";
import { IDENTITY } from "../../lib/id_maps.ts";

/** A name that nothing else opens. */
export const END_MARK = "/veneer-end-of-operation";

if (import.meta.main) {
  const [root, name, operation, tar] = Deno.args;
  const warn = () => {};
  const driver = openDriver({ root, driver: name, options: [], idMaps: IDENTITY, warn });
  if (operation === "put") driver.get("layer");
  const input = tar ? open(tar, O_RDONLY) : -1, output = open("/dev/null", O_WRONLY);

  Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
  Deno.stdin.readSync(new Uint8Array(1));

  const operations: Record<string, () => unknown> = {
    create: () => driver.create("new", { parent: "bottom" }),
    get: () => driver.get("layer"),
    put: () => driver.put("layer"),
    apply: () => driver.applyDiff("layer", undefined, input),
    diff: () => driver.diff("layer", undefined, output),
    remove: () => driver.remove("layer"),
    cleanup: () => driver.cleanup(),
  };
  operations[operation]();
  tryOpenat(AT_FDCWD, END_MARK, O_RDONLY);
  Deno.exit(0);
}
