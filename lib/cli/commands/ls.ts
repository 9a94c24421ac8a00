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
    await output.listTable([header, ...layers.map(row)], options.flag("no-trunc"));
  }
};

/**
 * A layer's fields, all of them, in JSON's terms: an unknown parent and a missing mount are null.
 */
export function layerToJson({ id, parent, incomplete, references, mountPoint }: LayerInfo) {
  return { id, parent: parent ?? null, incomplete, references, mountPoint: mountPoint ?? null };
}

/** A layer's state in one word. */
export function stateOf({ incomplete, mountPoint }: LayerInfo): string {
  return incomplete ? "incomplete" : mountPoint ? "mounted" : "ready";
}

function row(layer: LayerInfo): string[] {
  const { id, parent, references, mountPoint } = layer;
  return [id, parent ?? "?", stateOf(layer), String(references), mountPoint ?? ""];
}
