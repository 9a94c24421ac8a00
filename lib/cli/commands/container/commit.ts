/**
 * `veneer container commit`: makes an image of a Docker container.
 *
 * @module
 */
import { imageOfContainer } from "../../../images/docker/commit.ts";
import type { Run } from "../context.ts";
import { commitOptions } from "../image/commit.ts";

export const run: Run = async (context) => {
  const { options, operands: [text], output } = context;
  const asked = commitOptions(options), name = options.value("name");
  const warn = (message: string) => output.warn(message);
  const [{ id, names }] = await context.readDocker((store) =>
    context.createImages((images) => {
      using scope = new DisposableStack();
      const openSpool = () => images.openSpool();
      const found = imageOfContainer(store, text, asked, { openSpool, warn, scope });
      return images.importFound([found], store.root, { name });
    }), { isDriverOurs: true });
  output.result({ id, names }, () => [[...names, id].join(" ")]);
};
