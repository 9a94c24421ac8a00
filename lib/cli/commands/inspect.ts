/**
 * `veneer inspect`: shows the details of a layer.
 *
 * @module
 */
import type { Run } from "./context.ts";
import { createdIn, layerToJson, stateOf } from "./ls.ts";

export const run: Run = async (context) => {
  const { output } = context;
  const driver = await context.open();
  const id = context.layerId(driver);
  const layer = driver.layer(id);
  const children = driver.layers().filter(({ parent }) => parent === id).map(({ id }) => id);
  const created = createdIn(driver, layer);
  const metadata = driver.getMetadata(id);
  // Base layers, and all layers of btrfs, are not mounted: their own directory is the root.
  const directory = metadata.get("Subvolume") ??
    (layer.parent === "" ? metadata.get("UpperDir") : undefined);
  const root = layer.mountPoint ?? (layer.references > 0 ? directory : undefined);
  // `elsewhere` is also the word of `tree` for a layer in use without a mount here.
  const unmounted = layer.references > 0 ? "elsewhere" : "nowhere";
  await output.resultTable(
    {
      ...layerToJson(layer),
      created,
      root: root ?? null,
      driver: driver.name,
      children,
      metadata: Object.fromEntries(metadata),
    },
    () => [
      ["Id:", id],
      ["Parent:", layer.parent === undefined ? "unknown" : layer.parent || "none"],
      ["Children:", children.join(" ") || "none"],
      ["Driver:", driver.name],
      ["State:", stateOf(layer)],
      ["Uses:", String(layer.references)],
      ["Created:", created ?? "unknown"],
      ["Mounted at:", root ?? unmounted],
      ...[...metadata].map(([name, value]) => [`${name}:`, value]),
    ],
  );
};
