/**
 * `veneer image rm`: takes names of images away, and images without names.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { removeEach } from "../remove_each.ts";

export const run: Run = (context) =>
  context.changeImages((images) =>
    removeEach(context, (text) => images.remove(text, context.options.flag("force")))
  );
