/**
 * `veneer image inspect`: shows the details of an image.
 *
 * @module
 */
import { formatSize } from "../../../base/sizes.ts";
import { escapePath } from "../../../base/printable.ts";
import type { Run } from "../context.ts";
import { described } from "./described.ts";

export const run: Run = async (context) => {
  const image = await described(context);
  const { id, names, digests, platform, created, size, layers, command } = image;
  await context.output.resultTable(image, () => [
    ["Id:", id],
    ["Names:", names.join(" ") || "none"],
    ...digests?.map((digest) => ["Digest:", escapePath(digest)]) ?? [],
    ["Platform:", platform],
    ["Created:", created ?? "unknown"],
    ["Size:", formatSize(size)],
    ["Command:", escapePath(command.join(" ")) || "none"],
    ...layers.map(({ chain, diffId, size }, i) => [
      `Layer ${i + 1}:`,
      `${diffId} ${formatSize(size)}, ${digests === undefined ? "snapshot" : "chain id"} ${chain}`,
    ]),
  ]);
};
