/**
 * Describes the image that an operand names: one here, or one of a Docker store.
 *
 * @module
 */
import { describeConfig, type DescribedConfig, describeImage } from "../../../images/describe.ts";
import { familiar } from "../../../images/reference.ts";
import type { CommandContext } from "../context.ts";

/** A described image, here or in a Docker store. */
export interface Described extends DescribedConfig {
  readonly id: string;
  /** The names as people write them. */
  readonly names: readonly string[];
  /** Of a Docker store: names with the digests that it has in registries. */
  readonly digests?: readonly string[];
}

/** @throws {VeneerError} `not found`; also the errors of opening */
export function described(context: CommandContext): Promise<Described> {
  const { options, operands: [text], output } = context;
  const warn = (message: string) => output.warn(message);
  if (options.value("docker") === undefined) {
    return context.readImages((images) => describeImage(images.find(text), images.snapshots, warn));
  }
  return context.readDocker(({ images, layers }) => {
    const { id, names, digests, config } = images.find(text);
    const described = describeConfig(config, (chain) => layers.layer(chain).size, warn);
    return { id, names: names.map(familiar), digests, ...described };
  });
}
