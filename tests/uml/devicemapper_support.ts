/** What cases about devicemapper share: stores of a small size, and what lacks here. */
import { openDriver } from "../../drivers/registry.ts";
import { checkSupport } from "../../drivers/devicemapper/support.ts";
import type { GraphDriver } from "../../lib/graph_driver.ts";
import { IDENTITY, type IdMaps } from "../../lib/id_maps.ts";
import { run, TEST_FS } from "../support.ts";

/** Why device-mapper cannot be used here, if it cannot. */
export const lacking: string | undefined = Deno.uid() !== 0
  ? "it needs root"
  : checkSupport()?.message;

/** Layers' file systems are as the one under test is, so that each runs once. */
export const FILE_SYSTEM = TEST_FS.startsWith("xfs") ? "xfs" : "ext4";

/** Small, for guests whose disks are memory; mkfs.xfs makes nothing below 300M. */
export const SMALL: readonly string[] = [
  `dm.fs=${FILE_SYSTEM}`,
  `dm.basesize=${FILE_SYSTEM === "xfs" ? "300M" : "64M"}`,
  "dm.loopdatasize=1G",
  "dm.loopmetadatasize=8M",
  "dm.min_free_space=1%",
];

/** Opens a store; options after {@linkcode SMALL} win. */
export function openStore(
  root: string,
  { options = [], idMaps = IDENTITY, warn = (message) => console.error(message) }: {
    options?: readonly string[];
    idMaps?: IdMaps;
    warn?: (message: string) => void;
  } = {},
): GraphDriver {
  return openDriver({
    root,
    driver: "devicemapper",
    options: [...SMALL, ...options],
    idMaps,
    warn,
  });
}

/** The names of the device-mapper devices there are. */
export function deviceNames(): string[] {
  const text = run("dmsetup", "ls").stdout.trim();
  return text.startsWith("No devices") ? [] : text.split("\n").map((line) => line.split("\t")[0]);
}
