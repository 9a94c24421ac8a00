/**
 * `veneer tree`: draws the layers with their sizes and mounts.
 *
 * @module
 */
import { type GraphFormat, graphLines } from "../graph_formats.ts";
import { drawTree, type TreeLine } from "../layer_tree.ts";
import { messageOf, remedyOf } from "../../base/errors.ts";
import type { GraphDriver, LayerInfo } from "../../graph/driver.ts";
import { formatSize } from "../../base/sizes.ts";
import { type Screen, screenFor } from "../shorten.ts";
import type { Style } from "../style.ts";
import type { CommandContext, Run } from "./context.ts";
import { layerToJson } from "./ls.ts";

export const run: Run = async (context) => {
  const { output, options } = context;
  const driver = await context.open();
  const sizeOf = (layer: LayerInfo) =>
    options.flag("brief") ? undefined : layerSize(context, driver, layer);
  const format = options.value("format") as GraphFormat | undefined;
  if (format !== undefined) {
    const nodes = driver.layers().map((layer) => ({
      ...layer,
      notes: notesOf(layer, sizeOf(layer)),
    }));
    return output.result(
      { format, graph: [...graphLines(format, nodes)].join("\n") },
      () => graphLines(format, nodes),
    );
  }
  const layers = driver.layers();
  const screen = screenFor(layers.map(({ id }) => id), options.flag("no-trunc"));
  output.list(
    drawTree(layers),
    ({ layer }) => ({ ...layerToJson(layer), size: sizeOf(layer) ?? null }),
    (line) => describe(output.style, screen, line, sizeOf(line.layer)),
  );
};

/** A part of a line. */
type Part = readonly [style: Parameters<Style>[0], text: string];

function describe(
  style: Style,
  { shorten, columns }: Screen,
  { prefix, layer, oddity }: TreeLine<LayerInfo>,
  size: number | undefined,
): string {
  const { incomplete, mountPoint, references } = layer;
  const uses = references === 1 ? "1 use" : `${references} uses`;
  const parts: Part[] = [
    ...size === undefined ? [] : [["dim", formatSize(size)] as const],
    ...incomplete ? [["red", "incomplete"] as const] : [],
    ...oddity ? [["yellow", shorten(oddity)] as const] : [],
  ];
  if (references > 0 || mountPoint) {
    const place = mountPoint ? `at ${shorten(mountPoint)}` : "elsewhere";
    const whole = `mounted ${place} (${uses})`;
    const texts = [prefix + shorten(layer.id), ...parts.map(([, text]) => text), whole];
    const fits = texts.join("  ").length <= columns;
    parts.push(["green", fits ? whole : `mounted (${uses})`]);
  }
  const first = style("dim", prefix) + style("bold", shorten(layer.id));
  return [first, ...parts.map(([name, text]) => style(name, text))].join("  ");
}

/** The lines below a layer's id in a graph. */
function notesOf({ incomplete, mountPoint }: LayerInfo, size: number | undefined): string[] {
  return [
    ...size === undefined ? [] : [formatSize(size)],
    ...incomplete ? ["incomplete"] : [],
    ...mountPoint === undefined ? [] : [`mounted at ${mountPoint}`],
  ];
}

/**
 * The bytes that a layer changes; `undefined` if they are unknown, such as for an incomplete layer.
 */
function layerSize(
  { output }: CommandContext,
  driver: GraphDriver,
  { id, incomplete, parent }: LayerInfo,
): number | undefined {
  if (incomplete || parent === undefined) return undefined;
  try {
    return driver.diffSize(id, undefined);
  } catch (error) {
    output.warn(`no size of ${id}: ${messageOf(error)}`, remedyOf(error));
    return undefined;
  }
}
