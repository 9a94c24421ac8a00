/**
 * Names of images: `alpine` is short for `docker.io/library/alpine:latest`. The complete name is
 * stored.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

const DEFAULT_DOMAIN = "docker.io";
const DEFAULT_OWNER = "library";
const DEFAULT_TAG = "latest";

const PATH =
  /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const DOMAIN = /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** The most characters of a name's path, as in registries. */
const LONGEST = 255;

/** The complete name for a text; `undefined` if the text is not a name. */
export function tryNormalise(text: string): string | undefined {
  if (text.length > LONGEST + 129) return undefined;
  const slash = text.indexOf("/");
  const first = slash < 0 ? "" : text.slice(0, slash);
  const hasDomain = first === "localhost" || /[.:]/.test(first) || /[A-Z]/.test(first);
  const domain = hasDomain ? first : DEFAULT_DOMAIN;
  const rest = hasDomain ? text.slice(slash + 1) : text;
  const colon = rest.indexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? DEFAULT_TAG : rest.slice(colon + 1);
  if (!DOMAIN.test(domain) || !PATH.test(path) || !TAG.test(tag)) return undefined;
  if (`${domain}/${path}`.length > LONGEST) return undefined;
  const isShort = domain === DEFAULT_DOMAIN && !path.includes("/");
  return `${domain}/${isShort ? `${DEFAULT_OWNER}/` : ""}${path}:${tag}`;
}

/** @throws {VeneerError} `invalid argument` if a text is not the name of an image */
export function normalise(text: string): string {
  const name = tryNormalise(text);
  if (name !== undefined) return name;
  throw new VeneerError(
    "invalid argument",
    `image name ${
      JSON.stringify(text.slice(0, 200))
    }: write it as [HOST/]PATH[:TAG] in small letters, such as alpine:3.19`,
  );
}

/** The short form of a complete name, as people write it. */
export function familiar(name: string): string {
  const owned = `${DEFAULT_DOMAIN}/${DEFAULT_OWNER}/`, ours = `${DEFAULT_DOMAIN}/`;
  if (name.startsWith(owned)) return name.slice(owned.length);
  return name.startsWith(ours) ? name.slice(ours.length) : name;
}
