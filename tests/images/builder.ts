/**
 * Images as literal files: OCI layouts and docker archives, made without the code under test.
 */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { tar, type TarEntry } from "../tar/support/tar_builder.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A layer: its plain tar, and the file that holds it. */
export interface BuiltLayer {
  readonly plain: Bytes;
  readonly file: Bytes;
  readonly mediaType: string;
}

export const hex = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
export const sha256 = (bytes: Uint8Array) => `sha256:${hex(bytes)}`;
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

export const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";

/** A layer in a plain tar, or as `pack` packs it. */
export function layer(
  entries: readonly TarEntry[],
  pack: (plain: Bytes) => Bytes = (plain) => plain,
  mediaType: string = OCI_LAYER,
): BuiltLayer {
  const plain = tar(...entries);
  return { plain, file: pack(plain), mediaType };
}

/** The chain ids of layers. */
export function chainsOf(layers: readonly BuiltLayer[]): string[] {
  const chains: string[] = [];
  for (const { plain } of layers) {
    const text = chains.length === 0 ? undefined : `${chains.at(-1)} ${sha256(plain)}`;
    chains.push(text === undefined ? sha256(plain) : sha256(new TextEncoder().encode(text)));
  }
  return chains;
}

/** An image of layers. */
export interface Built {
  readonly layers: readonly BuiltLayer[];
  readonly config: Bytes;
  readonly id: string;
}

export function image(layers: readonly BuiltLayer[], more: Record<string, unknown> = {}): Built {
  const config = encode({
    created: "2020-01-01T00:00:00Z",
    os: "linux",
    architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
    config: { Cmd: ["/bin/sh"] },
    rootfs: { type: "layers", diff_ids: layers.map(({ plain }) => sha256(plain)) },
    ...more,
  });
  return { layers, config, id: sha256(config) };
}

const descriptor = (mediaType: string, bytes: Uint8Array, more = {}) => ({
  mediaType,
  digest: sha256(bytes),
  size: bytes.length,
  ...more,
});

/** Files by their paths. */
export type Files = Record<string, Bytes>;

/** An index entry for an image, and its blobs, which are added to `files`. */
export function addImage(files: Files, { layers, config }: Built, more = {}) {
  const add = (bytes: Bytes) => files[`blobs/sha256/${hex(bytes)}`] = bytes;
  const manifest = encode({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor("application/vnd.oci.image.config.v1+json", add(config)),
    layers: layers.map(({ file, mediaType }) => descriptor(mediaType, add(file))),
  });
  return descriptor("application/vnd.oci.image.manifest.v1+json", add(manifest), more);
}

/** The files of an OCI layout. */
export function layout(files: Files, manifests: readonly unknown[]): Files {
  return {
    "oci-layout": encode({ imageLayoutVersion: "1.0.0" }),
    "index.json": encode({ schemaVersion: 2, manifests }),
    ...files,
  };
}

/** A layout of one image. */
export function oneImage(built: Built, name = "docker.io/library/app:latest"): Files {
  const files: Files = {};
  const annotations = { "io.containerd.image.name": name };
  return layout(files, [addImage(files, built, { annotations })]);
}

export function writeFiles(directory: string, files: Files): string {
  for (const [path, bytes] of Object.entries(files)) {
    Deno.mkdirSync(join(directory, path, ".."), { recursive: true });
    Deno.writeFileSync(join(directory, path), bytes);
  }
  return directory;
}

/** The tar of some files. */
export function tarOf(files: Files, ...more: readonly TarEntry[]): Bytes {
  return tar(...Object.entries(files).map(([name, data]) => ({ name, data })), ...more);
}

export const json = encode;
