/**
 * `veneer df`: shows the disk use of the layers, and the space that could be reclaimed.
 *
 * @module
 */
import type { LayerInfo } from "../../graph/driver.ts";
import { printUses, usesOf } from "../disk_use.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const driver = await context.open();
  const members = driver.layers().map((layer) => ({
    ...layer,
    count: () => driver.diskUsage(layer.id),
    heldBy: () => holder(layer),
  }));
  await printUses(output, {
    of: "layers",
    driver: driver.name,
    home: driver.home,
    uses: usesOf(members, output),
    removal: ["rm"],
    inBytes: options.flag("bytes"),
    isWhole: options.flag("no-trunc"),
  });
};

/** The use of a layer that prevents its removal. */
function holder({ references, mountPoint }: LayerInfo): string | undefined {
  if (references > 0) return references === 1 ? "1 use" : `${references} uses`;
  return mountPoint === undefined ? undefined : "a mount";
}
