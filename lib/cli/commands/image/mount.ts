/**
 * `veneer image mount`: mounts a snapshot of an image and prints the path of its root.
 *
 * @module
 */
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, operands: [text, key], output } = context;
  const kind = options.flag("read-only") ? "view" : "active";
  const mounted = await context.changeImages((images) => images.mount(text, key, kind));
  output.result(mounted, () => [mounted.path]);
};
