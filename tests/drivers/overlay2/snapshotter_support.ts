/** What the tests of overlay2's snapshots share. */
import { namesIn } from "../snapshotter/store.ts";

/** Stores may lie on any file system. */
export const OPTIONS: readonly string[] = ["overlay2.allow_btrfs=true"];

/** The layers in a home, and whatever else is there that should not be. */
export function layersOnDisk(home: string): string[] {
  const strays = namesIn(home).filter((name) =>
    !/^(\.veneer|mounts|snapshots|metadata\.db(-wal|-shm|-reserve)?)$/.test(name)
  );
  return [...namesIn(`${home}/snapshots`), ...strays];
}
