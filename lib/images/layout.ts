/**
 * The OCI image layout: `oci-layout`, `index.json`, and blobs by their digests
 * (image-spec, image-layout.md).
 *
 * @module
 */
import { checkAgreement, checkCount, parseConfig } from "./config.ts";
import { type FoundImage, type FoundLayer, nothingFor, type Wanted } from "./found_image.ts";
import { badImage, JsonFields, parseJson } from "./json.ts";
import { fits, type Platform, platformOf } from "./platform.ts";
import { tryNormalise } from "./reference.ts";
import { type Descriptor, type ImageSource, openBlob, readBlob, readDocument } from "./source.ts";

export const LAYOUT = "oci-layout";
export const INDEX = "index.json";

/**
 * Annotations that name an image: by its complete name, as containerd and Docker write it, and by a
 * tag.
 */
export const IMAGE_NAME = "io.containerd.image.name";
export const REF_NAME = "org.opencontainers.image.ref.name";

const INDEXES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];

/** The most manifests that an index and the indexes below it may list. */
const MOST_MANIFESTS = 1000;
/** The deepest nesting of indexes. */
const MOST_DEPTH = 8;

/** A manifest in an index, and the name of it or of the index above it. */
interface Listed {
  readonly descriptor: JsonFields;
  readonly name: string | undefined;
  readonly depth: number;
}

/** The images of a layout. @throws as `findImages` */
export function findInLayout(source: ImageSource, wanted: Wanted): FoundImage[] {
  checkVersion(source);
  const read = new Set<string>(), images = new Map<string, FoundImage>();
  const others: Platform[] = [];
  const isWanted = (platform: Platform) => wanted.all || fits(platform, wanted.platform);
  for (const { descriptor, name } of manifests(source)) {
    const key = `${descriptor.requireText("digest")} ${name ?? ""}`;
    if (read.has(key) || isAttestation(descriptor)) continue;
    read.add(key);
    const told = descriptor.object("platform");
    if (told !== undefined && !isWanted(platformOf(told))) {
      others.push(platformOf(told));
      continue;
    }
    const image = readManifest(source, descriptor, name);
    if (image === undefined) continue;
    const { id, platform } = image.config;
    if (told === undefined && !isWanted(platform)) others.push(platform);
    else images.set(id, withNames(image, images.get(id)?.names ?? []));
  }
  if (images.size > 0) return [...images.values()];
  throw nothingFor(source, wanted.platform, others);
}

function withNames(image: FoundImage, names: readonly string[]): FoundImage {
  return { ...image, names: [...new Set([...names, ...image.names])] };
}

function checkVersion(source: ImageSource): void {
  const what = `${source.name}: ${LAYOUT}`;
  const fields = new JsonFields(parseJson(readDocument(source, LAYOUT), what), what);
  const version = fields.requireText("imageLayoutVersion");
  if (version !== "1.0.0") {
    throw badImage(`${what}: version ${JSON.stringify(version.slice(0, 80))} is not 1.0.0`);
  }
}

/** The manifests of the index and of the indexes below it, in their order. */
function* manifests(source: ImageSource): Generator<Listed> {
  const what = `${source.name}: ${INDEX}`;
  const top = new JsonFields(parseJson(readDocument(source, INDEX), what), what);
  const pending = listed(top, source, undefined, 0).reverse();
  for (let count = 0; pending.length > 0; count++) {
    if (count === MOST_MANIFESTS) throw badImage(`${what} lists more than ${MOST_MANIFESTS}`);
    const next = pending.pop()!;
    const type = next.descriptor.text("mediaType") ?? "";
    if (!INDEXES.includes(type)) {
      if (MANIFESTS.includes(type)) yield next;
      continue;
    }
    if (next.depth === MOST_DEPTH) throw badImage(`${what} has more than ${MOST_DEPTH} levels`);
    const descriptor = descriptorOf(next.descriptor, source, "index");
    const bytes = readBlob(source, descriptor);
    const index = new JsonFields(parseJson(bytes, descriptor.what), descriptor.what);
    const below = listed(index, source, next.name, next.depth + 1);
    if (pending.length + below.length > MOST_MANIFESTS) {
      throw badImage(`${what} lists more than ${MOST_MANIFESTS}`);
    }
    pending.push(...below.reverse());
  }
}

function listed(
  index: JsonFields,
  source: ImageSource,
  name: string | undefined,
  depth: number,
): Listed[] {
  return index.objects("manifests").map((descriptor) => ({
    descriptor,
    name: nameOf(descriptor, source) ?? name,
    depth,
  }));
}

/**
 * The complete name in the annotations. If they have only a tag, the name is made of the source's
 * name.
 */
function nameOf(descriptor: JsonFields, source: ImageSource): string | undefined {
  const annotations = descriptor.object("annotations");
  const whole = annotations?.text(IMAGE_NAME);
  const name = whole && tryNormalise(whole);
  if (name) return name;
  const reference = annotations?.text(REF_NAME);
  if (!reference) return undefined;
  if (/[/:]/.test(reference)) return tryNormalise(reference);
  return tryNormalise(`${baseName(source.name)}:${reference}`);
}

/** `alpine` of `/tmp/alpine.tar.gz`. */
function baseName(path: string): string {
  const last = path.replace(/\/+$/, "").split("/").at(-1)!;
  return last.replace(/(?:\.(?:oci|docker|tar|tgz|gz|zst))+$/, "").toLowerCase();
}

/** Whether the manifest describes an image and is not an image itself. */
function isAttestation(descriptor: JsonFields): boolean {
  const platform = descriptor.object("platform");
  return platform?.text("os") === "unknown" && platform.text("architecture") === "unknown" ||
    descriptor.object("annotations")?.text("vnd.docker.reference.type") !== undefined ||
    descriptor.text("artifactType") !== undefined;
}

function descriptorOf(fields: JsonFields, source: ImageSource, kind: string): Descriptor {
  const digest = fields.requireText("digest");
  const what = `${source.name}: ${kind} ${digest.slice(0, 200)}`;
  return { digest, size: fields.requireSize("size"), what };
}

/** Reads an image's manifest and config; `undefined` if it is not an image's manifest. */
function readManifest(
  source: ImageSource,
  listed: JsonFields,
  name: string | undefined,
): FoundImage | undefined {
  const descriptor = descriptorOf(listed, source, "manifest");
  const { what } = descriptor, bytes = readBlob(source, descriptor);
  const manifest = new JsonFields(parseJson(bytes, what), what);
  const configFields = manifest.requireObject("config");
  if (!CONFIGS.includes(configFields.text("mediaType") ?? "")) return undefined;
  const layers = manifest.objects("layers");
  checkCount(layers.length, what);
  const configDescriptor = descriptorOf(configFields, source, "config");
  const config = parseConfig(readBlob(source, configDescriptor), configDescriptor.what);
  checkAgreement(layers.length, config, what);
  return {
    config,
    manifest: bytes,
    names: name === undefined ? [] : [name],
    layers: layers.map((layer) => layerOf(descriptorOf(layer, source, "layer"), source)),
  };
}

function layerOf(descriptor: Descriptor, source: ImageSource): FoundLayer {
  const { what, digest } = descriptor;
  return { what, digest, open: () => openBlob(source, descriptor) };
}
