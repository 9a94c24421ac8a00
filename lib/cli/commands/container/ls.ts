/**
 * `veneer container ls`: lists the containers of a Docker store.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import type { Warn } from "../../../base/warn.ts";
import type { DockerContainers } from "../../../images/docker/containers.ts";
import { secondOf } from "../../times.ts";
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, output } = context, withSize = options.flag("size");
  const warn = (message: string) => output.warn(message);
  const found = await context.readDocker(({ containers }) =>
    containers.list(warn).map((container) => ({
      ...container,
      ...withSize && { size: sizeOrWarn(containers, container.id, warn) },
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
      ...size === undefined ? [] : [size === null ? "?" : formatSize(size)],
    ]),
  ], options.flag("no-trunc"));
};

function sizeOrWarn(containers: DockerContainers, id: string, warn: Warn): number | null {
  try {
    return containers.size(id);
  } catch (error) {
    if (!(error instanceof VeneerError)) throw error;
    warn(`the size of container ${id} is not known: ${error.message}`);
    return null;
  }
}
