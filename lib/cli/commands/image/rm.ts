/**
 * `veneer image rm`: removes names of images, and images without names.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { removeEach } from "../remove_each.ts";

export const run: Run = (context) =>
  context.changeImages((images) =>
    removeEach(context, (text) => images.remove(text, context.options.flag("force")))
  );
