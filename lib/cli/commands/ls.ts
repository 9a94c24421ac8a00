/**
 * `veneer ls`: lists layers.
 *
 * @module
 */
import type { LayerInfo } from "../../graph/driver.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const layers = (await context.open()).layers();
  if (options.flag("quiet")) {
    output.list(layers, ({ id }) => id, ({ id }) => id);
  } else if (output.json) {
    output.list(layers, layerToJson, String);
  } else {
    const header = ["ID", "PARENT", "STATE", "USES", "MOUNTED AT"];
    await output.table([header, ...layers.map(row)]);
  }
};

/**
 * A layer's fields, all of them, in JSON's terms: an unknown parent and a missing mount are null.
 */
export function layerToJson({ id, parent, incomplete, references, mountPoint }: LayerInfo) {
  return { id, parent: parent ?? null, incomplete, references, mountPoint: mountPoint ?? null };
}

function row({ id, parent, incomplete, references, mountPoint }: LayerInfo): string[] {
  return [
    id,
    parent ?? "?",
    incomplete ? "incomplete" : mountPoint ? "mounted" : "ready",
    String(references),
    mountPoint ?? "",
  ];
}
