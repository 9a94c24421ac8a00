/**
 * The platforms of images.
 *
 * @module
 */
import type { JsonFields } from "./json.ts";

/** A platform in the terms of Go, which images use. */
export interface Platform {
  /** `""` if it is not known; so are the others. */
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
}

/** The platform in the fields of an object. */
export function platformOf(fields: JsonFields): Platform {
  return {
    os: fields.text("os") ?? "",
    architecture: fields.text("architecture") ?? "",
    variant: fields.text("variant") ?? "",
  };
}

/** The platform of this host. */
export const HOST: Platform = {
  os: "linux",
  architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
  variant: "",
};

/** Parses `os/architecture` or `os/architecture/variant`; `undefined` for any other text. */
export function parsePlatform(text: string): Platform | undefined {
  const [, os, architecture, variant = ""] = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/
    .exec(text) ?? [];
  return os === undefined ? undefined : { os, architecture, variant };
}

/** Whether an image's platform is the wanted one. A variant counts only if both have one. */
export function fits(image: Platform, wanted: Platform): boolean {
  const isVariant = image.variant === "" || wanted.variant === "" ||
    image.variant === wanted.variant;
  return image.os === wanted.os && image.architecture === wanted.architecture && isVariant;
}

/** `linux/arm/v7` */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os || "unknown", architecture || "unknown", ...variant ? [variant] : []].join("/");
}
