/** What the tests of overlay2's snapshots share. */
import { takesLowersOneByOne } from "../../../drivers/overlay2/kernel.ts";
import { lacksFileSystem } from "../../support/cases.ts";
import { namesIn } from "../snapshotter/store.ts";

export const lacking = lacksFileSystem("overlay");

/** Why overlays are not mounted by the new calls here, if they are not. */
export const lackingNew = lacking ??
  (takesLowersOneByOne(Deno.env.get("VENEER_TEST_DIR") ?? "/tmp")
    ? undefined
    : "overlay of this kernel does not take lowerdir+");

/** Stores may lie on any file system. */
export const OPTIONS: readonly string[] = ["overlay2.allow_btrfs=true"];

/** The layers in a home, and whatever else is there that should not be. */
export function layersOnDisk(home: string): string[] {
  const strays = namesIn(home).filter((name) =>
    !/^(\.veneer|snapshots|metadata\.db(-wal|-shm|-reserve)?)$/.test(name)
  );
  return [...namesIn(`${home}/snapshots`), ...strays];
}
