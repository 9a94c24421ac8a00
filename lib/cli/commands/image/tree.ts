/**
 * `veneer image tree`: draws the layers of images, with the images that use them.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import { type DescribedImage, describeImage } from "../../../images/describe.ts";
import { drawTree, type TreeLine } from "../../layer_tree.ts";
import { type Screen, screenFor } from "../../shorten.ts";
import type { Style } from "../../style.ts";
import type { Run } from "../context.ts";

/** A layer in the drawing, named by its chain id, or an image without layers, named by its id. */
interface Node {
  readonly id: string;
  readonly parent: string;
  readonly diffId: string | null;
  readonly size: number;
  /** The images of which it is the uppermost layer. */
  readonly images: { readonly id: string; readonly names: readonly string[] }[];
}

export const run: Run = async (context) => {
  const { options, output } = context;
  const nodes = await context.readImages((images) =>
    nodesOf(
      images.list().map((image) =>
        describeImage(image, images.snapshots, (message) => output.warn(message))
      ),
    )
  );
  const { shorten } = screenFor(nodes.map(({ id }) => id), options.flag("no-trunc"));
  output.list(
    drawTree(nodes),
    ({ layer }) => layer,
    (line) => describe(output.style, shorten, line),
  );
};

/** All layers, each once; those of the newest image come first. */
function nodesOf(images: readonly DescribedImage[]): Node[] {
  const nodes = new Map<string, Node>();
  for (const { id, names, layers } of images) {
    for (const [i, { chain, diffId, size }] of layers.entries()) {
      if (nodes.has(chain)) continue;
      nodes.set(chain, { id: chain, parent: layers[i - 1]?.chain ?? "", diffId, size, images: [] });
    }
    const top = layers.at(-1)?.chain ?? id;
    if (layers.length === 0) nodes.set(id, { id, parent: "", diffId: null, size: 0, images: [] });
    nodes.get(top)!.images.push({ id, names });
  }
  return [...nodes.values()];
}

function describe(
  style: Style,
  shorten: Screen["shorten"],
  { prefix, layer: { id, size, images } }: TreeLine<Node>,
): string {
  const words = images.flatMap(({ id, names }) => names.length === 0 ? [shorten(id)] : names);
  return [
    `${style("dim", prefix)}${shorten(id)}`,
    style("dim", formatSize(size)),
    ...words.length === 0 ? [] : [style("bold", escapePath(words.join(" ")))],
  ].join("  ");
}
