/** What the tests of devicemapper's snapshots share. */
import { openSnapshotter } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { runState } from "../../support/store_dir.ts";
import { namesIn } from "../snapshotter/store.ts";
import { deviceNames, SMALL } from "./support.ts";

/** Opens a store of a small size; options after these win. */
export function openSnapshots(
  root: string,
  warn: (message: string) => void = (message) => console.error(message),
  options: readonly string[] = [],
): Snapshotter {
  return openSnapshotter({
    root,
    driver: "devicemapper",
    options: [...SMALL, ...options],
    idMaps: IDENTITY,
    warn,
  });
}

/** The layers in a home, and whatever else is there that should not be, also of devices. */
export function layersOnDisk(home: string): string[] {
  const layers = namesIn(`${home}/metadata`)
    .filter((name) => name !== "base" && name !== "deviceset-metadata");
  const strays = namesIn(home).filter((name) =>
    !/^(\.veneer|devicemapper|metadata|mnt|mounts|metadata\.db(-wal|-shm|-reserve)?)$/.test(name)
  );
  const prefix = `docker-${runState(home).replace("/run/veneer/", "").replace(".", ":")}-`;
  const devices = deviceNames().filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length))
    .filter((name) => name !== "pool" && !layers.includes(name));
  return [...layers, ...strays, ...namesIn(`${home}/mnt`), ...devices];
}
