/**
 * `veneer container ls`: lists the containers of a store of Docker's.
 *
 * @module
 */
import { formatSize } from "../../../base/sizes.ts";
import { escapePath } from "../../../base/printable.ts";
import { secondOf } from "../../times.ts";
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, output } = context, withSize = options.flag("size");
  const found = await context.readDocker(({ containers }) =>
    containers.list((message) => output.warn(message)).map(({ run: _, ...rest }) => ({
      ...rest,
      ...withSize && { size: containers.size(rest.id) },
    }))
  );
  if (options.flag("quiet")) return output.list(found, ({ id }) => id, ({ id }) => id);
  if (output.json) return output.list(found, (container) => container, String);
  await output.listTable([
    ["ID", "NAME", "IMAGE", "CREATED", ...withSize ? ["SIZE"] : []],
    ...found.map(({ id, name, image, created, size }) => [
      id,
      escapePath(name),
      escapePath(image),
      escapePath(secondOf(created ?? "")),
      ...size === undefined ? [] : [formatSize(size)],
    ]),
  ], options.flag("no-trunc"));
};
