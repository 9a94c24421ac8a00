/**
 * `veneer image inspect`: shows the details of an image.
 *
 * @module
 */
import { formatSize } from "../../../base/sizes.ts";
import { escapePath } from "../../../base/printable.ts";
import { describeImage } from "../../../images/describe.ts";
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { operands: [text], output } = context;
  const image = await context.readImages((images) =>
    describeImage(images.find(text), images.snapshots)
  );
  const { id, names, platform, created, size, layers, command } = image;
  await output.resultTable(image, () => [
    ["Id:", id],
    ["Names:", names.join(" ") || "none"],
    ["Platform:", platform],
    ["Created:", created ?? "unknown"],
    ["Size:", formatSize(size)],
    ["Command:", escapePath(command.join(" ")) || "none"],
    ...layers.map(({ chain, diffId, size }, i) => [
      `Layer ${i + 1}:`,
      `${diffId} ${formatSize(size)}, snapshot ${chain}`,
    ]),
  ]);
};
