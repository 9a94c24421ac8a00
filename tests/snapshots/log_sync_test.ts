/** The log of a store's database, synced by a thread that does not have the store open. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { join } from "@std/path";
import { lstat } from "../../ffi/stat.ts";
import { readlink } from "../../ffi/paths.ts";
import { LOG } from "../../lib/snapshots/log_reserve.ts";
import { LogFile } from "../../lib/snapshots/log_sync.ts";
import { DATABASE } from "../../lib/snapshots/open_store.ts";

/** The descriptors of this process on a file of that name, and whether it is deleted. */
function descriptors(path: string): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      const target = readlink(`/proc/self/fd/${name}`);
      if (target.startsWith(path)) found.push(`${name} ${target}`);
    } catch {
      // The descriptor that listed them.
    }
  }
  return found;
}

Deno.test("log: stays open as long as it is the same file, and is opened again once replaced", async () => {
  const home = Deno.makeTempDirSync();
  const path = join(home, `${DATABASE}${LOG}`);
  using log = new LogFile(home);
  await log.sync();
  assertEquals(descriptors(path), [], "there is no log yet");
  Deno.writeTextFileSync(path, "one");
  const first = lstat(path).inode;
  await log.sync();
  const open = descriptors(path);
  assertEquals(open.length, 1);
  await log.sync();
  assertEquals(descriptors(path), open);
  Deno.writeTextFileSync(`${path}.new`, "two");
  Deno.renameSync(`${path}.new`, path);
  assertNotEquals(lstat(path).inode, first);
  await log.sync();
  assertEquals(descriptors(path).map((one) => one.endsWith("(deleted)")), [false]);
  Deno.removeSync(home, { recursive: true });
});
