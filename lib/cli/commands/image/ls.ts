/**
 * `veneer image ls`: lists images.
 *
 * @module
 */
import { formatSize } from "../../../base/sizes.ts";
import { describeImage } from "../../../images/describe.ts";
import { familiar } from "../../../images/reference.ts";
import { secondOf } from "../../times.ts";
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const rows = await context.readImages((images) => {
    const all = images.list();
    if (options.flag("quiet")) {
      const words = all.flatMap(({ id, names }) => names.length === 0 ? [id] : names.map(familiar));
      output.list(words, (word) => word, (word) => word);
      return [];
    }
    const described = all.map((image) => describeImage(image, images.snapshots));
    if (output.json) {
      output.list(described, ({ config: _, manifest: __, ...rest }) => rest, String);
      return [];
    }
    return [
      ["NAME", "ID", "PLATFORM", "LAYERS", "SIZE", "CREATED"],
      ...described.flatMap(({ names, id, platform, layers, size, created }) =>
        (names.length === 0 ? [""] : names).map((
          name,
        ) => [name, id, platform, String(layers.length), formatSize(size), secondOf(created ?? "")])
      ),
    ];
  });
  await output.listTable(rows, options.flag("no-trunc"));
};
