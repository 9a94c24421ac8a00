/**
 * The order of a service's removals on disk: no layer goes before the record of its removal is
 * there, and one sync does for all that were removed.
 */
import { assert, assertEquals } from "@std/assert";
import { lacksFileSystem, needs, tempDir } from "../../support/cases.ts";

needs(
  lacksFileSystem("overlay"),
  "overlay2 snapshots: removals of a service are synced once, before the first layer goes",
  () => {
    using dir = tempDir();
    const child = new URL("removed_sync_child.ts", import.meta.url).pathname;
    const { code, stderr } = new Deno.Command("strace", {
      args: [
        ...["-f", "-e", "trace=openat,renameat2,fsync,fdatasync", "-o", `${dir.path}/calls`],
        ...[Deno.execPath(), "run", "--allow-all", "--no-check", "--quiet"],
        ...[child, `${dir.path}/root`],
      ],
      stdin: "null",
      stdout: "null",
    }).outputSync();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const calls = Deno.readTextFileSync(`${dir.path}/calls`).split("\n");
    const at = (name: string) => calls.findIndex((call) => call.includes(`"/proc/self/${name}"`));
    const [removing, deleting] = [at("comm"), at("status")];
    assert(0 < removing && removing < deleting, "the marks are in the trace");
    const among = (from: number, to?: number) =>
      calls.slice(from, to).flatMap((call) =>
        call.match(/\b(?:fsync|fdatasync|renameat2)\b/) ?? []
      );
    assertEquals(among(removing, deleting), [], "a removal waits for no disk");
    assertEquals(among(deleting).slice(0, 3), ["fdatasync", "renameat2", "renameat2"]);
  },
);
