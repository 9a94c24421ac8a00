/**
 * `veneer inspect`: shows the details of a layer.
 *
 * @module
 */
import type { Run } from "./context.ts";
import { layerToJson } from "./ls.ts";

export const run: Run = async (context) => {
  const { output } = context;
  const driver = await context.open();
  const id = context.layerId(driver);
  const layer = driver.layer(id);
  const children = driver.layers().filter(({ parent }) => parent === id).map(({ id }) => id);
  const metadata = driver.getMetadata(id);
  await output.resultTable(
    {
      ...layerToJson(layer),
      driver: driver.name,
      children,
      metadata: Object.fromEntries(metadata),
    },
    () => [
      ["Id:", id],
      ["Parent:", layer.parent === undefined ? "unknown" : layer.parent || "none"],
      ["Children:", children.join(" ") || "none"],
      ["Driver:", driver.name],
      ["State:", layer.incomplete ? "incomplete" : "complete"],
      ["Uses:", String(layer.references)],
      ["Mounted at:", layer.mountPoint ?? "nowhere"],
      ...[...metadata].map(([name, value]) => [`${name}:`, value]),
    ],
  );
};
