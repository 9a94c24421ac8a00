/** Mounts chains of snapshots by the command lines that are printed for them. */
import { assertEquals } from "@std/assert";
import { openSnapshotter } from "./drivers.ts";
import { umount } from "../../ffi/mount.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { mountCommand } from "../../lib/cli/mount_command.ts";
import type { Snapshotter } from "../../lib/snapshots/snapshotter.ts";
import { mountPoints, must } from "./cases.ts";
import { storeDir } from "./store_dir.ts";

/**
 * Mounts chains of overlay2's snapshots by their printed command lines, and checks that each
 * layer's file is there.
 *
 * @param lengths the numbers of layers below, in ascending order
 * @param path the text before `PATH`, for another mount(8) than the machine's
 * @param check checks each command line
 */
export function mountPrinted(
  lengths: readonly number[],
  path = "",
  check: (command: string, length: number) => void = () => {},
): void {
  using dir = storeDir();
  const target = `${dir.path}/a target's`;
  Deno.mkdirSync(target);
  const snapshots = openSnapshotter({
    root: `${dir.path}/root`,
    driver: "overlay2",
    options: ["overlay2.allow_btrfs=true"],
    idMaps: IDENTITY,
    warn: (message) => {
      throw new Error(`a warning: ${message}`);
    },
  });
  try {
    let made = 0;
    for (const length of lengths) {
      while (made < length) commitFile(snapshots, made++);
      snapshots.prepare("on top", `${made - 1}`);
      const [mount, ...more] = snapshots.mounts("on top");
      assertEquals(more, []);
      const command = mountCommand(mount, target);
      check(command, length);
      must("sh", "-c", `PATH=${path}$PATH\n${command}`);
      try {
        assertEquals([...Deno.readDirSync(target)].length, length, command);
        Deno.writeTextFileSync(`${target}/0`, "written to");
      } finally {
        umount(target);
      }
      snapshots.remove("on top");
    }
    assertEquals(mountPoints(dir.path), []);
  } finally {
    snapshots.close();
  }
}

/** Commits a snapshot with a file named like it, on the previous snapshot. */
function commitFile(snapshots: Snapshotter, number: number): void {
  snapshots.prepare("key", number === 0 ? "" : `${number - 1}`);
  const { layer } = snapshots.stat("key");
  Deno.writeTextFileSync(`${snapshots.home}/snapshots/${layer}/fs/${number}`, "");
  snapshots.commit(`${number}`, "key");
}
