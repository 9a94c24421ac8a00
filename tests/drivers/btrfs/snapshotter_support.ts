/** What the tests of btrfs' snapshots share. */
import { join } from "@std/path";
import { must } from "../../support/cases.ts";
import { directory } from "./support.ts";
import { namesIn } from "../snapshotter/store.ts";

export { directory, lacking } from "./support.ts";

/** The layers in a home, and whatever else is there that should not be, also of subvolumes. */
export function layersOnDisk(home: string): string[] {
  const layers = ["active", "snapshots"].flatMap((kind) =>
    namesIn(join(home, kind)).map((name) => `${kind}.${name}`)
  );
  const strays = namesIn(home).filter((name) =>
    !/^(\.veneer|active|mounts|snapshots|metadata\.db(-wal|-shm|-reserve)?)$/.test(name)
  );
  const own = home.split("/").slice(-4).join("/"); // From the case's own directory on.
  const subvolumes = must("btrfs", "subvolume", "list", directory).split("\n")
    .filter((line) => line.includes(`${own}/`))
    .filter((line) => !/\/(active|snapshots)\/[0-9a-f]{56}$/.test(line));
  return [...layers, ...strays, ...subvolumes];
}
