/**
 * The archive that `docker save` writes, in its old and new form: `manifest.json` names a config
 * and layers. The layers' digests are only in the config.
 *
 * @module
 */
import { checkAgreement, checkCount, type ImageConfig, parseConfig } from "./config.ts";
import { type FoundImage, nothingFor, type Wanted } from "./found_image.ts";
import { badImage, JsonFields, parseJson } from "./json.ts";
import { fits, type Platform } from "./platform.ts";
import { normalise } from "./reference.ts";
import { cleanPath, type ImageSource, readDocument } from "./source.ts";

export const MANIFEST = "manifest.json";

/** The most images that an archive may hold. */
const MOST_IMAGES = 1000;

/** The name of a config, with its digest. */
const OF_DIGEST = /^(?:blobs\/sha256\/([0-9a-f]{64})|([0-9a-f]{64})\.json)$/;

/** The images of an archive. @throws as `findImages` */
export function findInDockerArchive(source: ImageSource, wanted: Wanted): FoundImage[] {
  const what = `${source.name}: ${MANIFEST}`;
  const listed = parseJson(readDocument(source, MANIFEST), what);
  if (!Array.isArray(listed)) throw badImage(`${what} is not a list`);
  if (listed.length > MOST_IMAGES) throw badImage(`${what} lists more than ${MOST_IMAGES} images`);
  const images = listed.map((value, i) =>
    imageOf(new JsonFields(value, `${what}: [${i}]`), source)
  );
  const found = images.filter(({ config }) => wanted.all || fits(config.platform, wanted.platform));
  if (found.length > 0) return found;
  const others: Platform[] = images.map(({ config }) => config.platform);
  throw nothingFor(source, wanted.platform, others);
}

function imageOf(fields: JsonFields, source: ImageSource): FoundImage {
  const config = readConfig(fields, source);
  const layers = fields.texts("Layers");
  checkCount(layers.length, fields.what);
  checkAgreement(layers.length, config, fields.what);
  return {
    config,
    manifest: undefined,
    names: fields.texts("RepoTags").map(normalise),
    layers: layers.map((name) => {
      const path = cleanPath(name, fields.what), what = `${source.name}: layer ${path}`;
      return {
        what,
        digest: undefined,
        open: () => {
          const file = source.open(path);
          if (file === undefined) throw badImage(`${what} is missing: ${MANIFEST} lists it`);
          return file;
        },
      };
    }),
  };
}

function readConfig(fields: JsonFields, source: ImageSource): ImageConfig {
  const path = cleanPath(fields.requireText("Config"), fields.what);
  const what = `${source.name}: config ${path}`;
  const config = parseConfig(readDocument(source, path), what);
  const hex = OF_DIGEST.exec(path)?.slice(1).find((part) => part !== undefined);
  if (hex === undefined || config.id === `sha256:${hex}`) return config;
  throw badImage(`${what} has the content of ${config.id}: it is damaged`);
}
