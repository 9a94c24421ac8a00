/**
 * Finds the images in a directory or a tar.
 *
 * @module
 */
import { badImage } from "./json.ts";
import { findInDockerArchive, MANIFEST } from "./docker_archive.ts";
import { findInLayout, INDEX, LAYOUT } from "./layout.ts";
import type { FoundImage, Wanted } from "./found_image.ts";
import type { ImageSource } from "./source.ts";

/**
 * Finds the wanted images, and checks all but the content of their layers.
 *
 * @throws {VeneerError} `invalid argument` if the source is not an image, an image is damaged, or
 * none is for the wanted platform
 */
export function findImages(source: ImageSource, wanted: Wanted): FoundImage[] {
  const has = (path: string) => {
    using file = source.open(path);
    return file !== undefined;
  };
  const isLayout = has(LAYOUT) && has(INDEX), isArchive = has(MANIFEST);
  if (!isLayout && !isArchive) {
    throw badImage(
      `${source.name} is not an image: it has neither ${LAYOUT} and ${INDEX} nor ${MANIFEST}`,
    );
  }
  const images = isLayout ? findInLayout(source, wanted) : findInDockerArchive(source, wanted);
  for (const { layers } of images) {
    for (const layer of layers) layer.open()[Symbol.dispose]();
  }
  return images;
}
