/**
 * `veneer image rm`: removes names of images, and images without names.
 *
 * @module
 */
import type { RemovedImage } from "../../../images/images.ts";
import type { Run } from "../context.ts";
import { removeEach } from "../remove_each.ts";

export const run: Run = (context) =>
  context.changeImages((images) => {
    const removed: RemovedImage[] = [];
    const remove = (text: string) =>
      void removed.push(images.remove(text, context.options.flag("force")));
    return removeEach(context, remove, () => {
      const gone = new Set(removed.flatMap(({ layers }) => layers));
      const kept = removed.filter(({ kept: [layer] }) => layer !== undefined && !gone.has(layer));
      return {
        values: { kept: [...new Set(kept.flatMap(({ kept }) => kept))] },
        lines: [...new Map(kept.map((image) => [image.kept[0], keptLine(image)])).values()],
      };
    });
  });

/** Names the layers that stay, and their user. */
function keptLine({ kept: [layer, ...below], user }: RemovedImage): string {
  const layers = below.length === 0
    ? `layer ${layer} stays`
    : `layer ${layer} and ${below.length} below it stay`;
  return user === undefined ? layers : `${layers} for ${user}`;
}
