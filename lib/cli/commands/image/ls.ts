/**
 * `veneer image ls`: lists images.
 *
 * @module
 */
import { formatSize } from "../../../base/sizes.ts";
import { describeImage } from "../../../images/describe.ts";
import { familiar } from "../../../images/reference.ts";
import { formatPlatform } from "../../../images/platform.ts";
import { secondOf } from "../../times.ts";
import type { CommandContext, Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  if (options.value("docker") !== undefined) return await listDocker(context);
  const rows = await context.readImages((images) => {
    const all = images.list();
    if (options.flag("quiet")) {
      const words = all.flatMap(({ id, names }) => names.length === 0 ? [id] : names.map(familiar));
      output.list(words, (word) => word, (word) => word);
      return [];
    }
    const described = all.map((image) =>
      describeImage(image, images.snapshots, (message) => output.warn(message))
    );
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

/** Lists the images of a Docker store. */
async function listDocker(context: CommandContext): Promise<void> {
  const { options, output } = context;
  const images = await context.readDocker((store) =>
    store.images.list((message) => output.warn(message))
  );
  if (options.flag("quiet")) {
    const words = images.flatMap(({ id, names }) =>
      names.length === 0 ? [id] : names.map(familiar)
    );
    return output.list(words, (word) => word, (word) => word);
  }
  const described = images.map(({ id, names, digests, config, created, size }) => ({
    id,
    names: names.map(familiar),
    digests,
    platform: formatPlatform(config.platform),
    layers: config.chains,
    size,
    created,
  }));
  if (output.json) return output.list(described, (image) => image, String);
  await output.listTable([
    ["NAME", "ID", "PLATFORM", "LAYERS", "SIZE", "CREATED"],
    ...described.flatMap(({ names, id, platform, layers, size, created }) =>
      (names.length === 0 ? [""] : names).map((
        name,
      ) => [name, id, platform, String(layers.length), formatSize(size), secondOf(created ?? "")])
    ),
  ], options.flag("no-trunc"));
}
