/**
 * `veneer image exec`: runs a program in an image.
 *
 * @module
 */
import { askedFor, runInside } from "../../run_inside.ts";
import type { CommandContext, Run } from "../context.ts";

export const run: Run = (context) => runInImage(context, context.operands.slice(1));

/** Mounts a new snapshot of the image while a program runs in it, and then removes it. */
export async function runInImage(
  context: CommandContext,
  command: readonly string[],
): Promise<number> {
  const { options, operands: [text] } = context;
  const asked = askedFor(options, command);
  // If this process is killed, the next command on images removes the snapshot.
  using scope = new DisposableStack();
  let key = "";
  const tree = {
    mount: () =>
      context.changeImages((images) => {
        key = scope.use(images.temporaryKey("image-run")).key;
        return images.mount(text, key, "active").path;
      }),
    unmount: () =>
      context.changeSnapshots((snapshotter) => {
        snapshotter.unmount(key);
        snapshotter.remove(key);
      }),
  };
  return await runInside(tree, asked);
}
