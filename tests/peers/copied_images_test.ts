/**
 * Whole images that skopeo and Podman write and read: imported here with the id and the tree that
 * they have, and exported so that both read the same image again.
 */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import {
  addImage,
  type Built,
  chainsOf,
  type Files,
  image,
  json,
  layer,
  layout,
  OCI_LAYER,
  oneImage,
  sha256,
  writeFiles,
} from "../images/builder.ts";
import { type ImageStore, imageStore, withTree } from "../images/support.ts";
import { lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { describe } from "../support/tree_entries.ts";
import { dir, file, hardlink, symlink } from "../tar/support/tar_builder.ts";
import { inSeconds, withoutHiddenNames } from "./trees.ts";

const gzip = (plain: Uint8Array) => new Uint8Array(gzipSync(plain));
const zstd = (plain: Uint8Array) => new Uint8Array(zstdCompressSync(plain));

const OWNED = { uid: 12, gid: 34, mode: 0o4755 };

const LAYERS = [
  layer(
    [
      dir("etc/", { mtime: 5 }),
      file("etc/motd", "hello\n", OWNED),
      // Some readers take a link's own owner and mode.
      { ...hardlink("etc/motd", "etc/linked"), ...OWNED },
      symlink("etc/motd", "link"),
      file("gone", "gone"),
      dir("opaque/"),
      file("opaque/below", "x"),
    ],
    gzip,
    `${OCI_LAYER}+gzip`,
  ),
  layer([], gzip, `${OCI_LAYER}+gzip`),
  layer(
    [
      file(".wh.gone", ""),
      dir("opaque/"),
      file("opaque/.wh..wh..opq", ""),
      file("new", "n"),
    ],
    zstd,
    `${OCI_LAYER}+zstd`,
  ),
];

const REF_NAME = "org.opencontainers.image.ref.name";
const OTHER_ARCHITECTURE = Deno.build.arch === "aarch64" ? "amd64" : "arm64";

/** A layout of an index for two platforms, and of the image for this one by itself. */
function writeLayout(directory: string): Built {
  const built = image(LAYERS),
    other = image(LAYERS.slice(0, 1), { architecture: OTHER_ARCHITECTURE });
  const files: Files = {}, note = { "example.unknown": "kept out of the way" };
  const one = addImage(files, built, { annotations: { [REF_NAME]: "one", ...note } });
  const platforms = [built, other].map((built) => {
    const { os, architecture } = JSON.parse(new TextDecoder().decode(built.config));
    return addImage(files, built, { platform: { os, architecture } });
  });
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const index = json({ schemaVersion: 2, mediaType, manifests: platforms });
  files[`blobs/${sha256(index).replace(":", "/")}`] = index;
  const both = {
    mediaType,
    digest: sha256(index),
    size: index.length,
    annotations: { [REF_NAME]: "both" },
  };
  writeFiles(directory, layout(files, [one, both]));
  return built;
}

const linesOf = (root: string) => withoutHiddenNames(inSeconds(describe(root)));

/** Imports a file or layout, which must be the image; returns its tree. */
function treeOf(from: string, { id, layers }: Built, store: ImageStore): string[] {
  assertEquals(store.images.import(from).map((image) => image.id), [id], from);
  return withTree(store, chainsOf(layers).at(-1)!, linesOf);
}

const skopeo = (...words: string[]) => must("skopeo", "--insecure-policy", ...words);

needs(
  lacksFileSystem("overlay") ?? lacksProgram("skopeo") ?? lacksProgram("umoci"),
  "an image that skopeo copies, in each form and compression, comes in and goes out",
  async () => {
    using first = await imageStore();
    const path = (name: string) => first.path(name), built = writeLayout(path("in"));
    const from = `oci:${path("in")}:one`, packed = ["--dest-compress", "--dest-compress-format"];
    const copies: [to: string, options: string[]][] = [
      ["oci:plain:app", ["--dest-decompress"]],
      ["oci:gzip:app", [...packed, "gzip"]],
      ["oci:zstd:app", [...packed, "zstd"]],
      ["oci-archive:oci.tar:app", []],
      ["docker-archive:docker.tar:app:1", []],
    ];
    let expected: string[] | undefined;
    for (const [to, options] of copies) {
      const [transport, name, ...tag] = to.split(":");
      // For Docker there is no zstd.
      const source = transport === "docker-archive" ? `oci:${path("gzip")}:app` : from;
      skopeo("copy", ...options, source, [transport, path(name), ...tag].join(":"));
      using store = await imageStore();
      const tree = treeOf(path(name), built, store);
      assertEquals(tree, expected ??= tree, to);
    }
    must("umoci", "unpack", "--image", `${path("gzip")}:app`, path("bundle"));
    assertEquals(linesOf(path("bundle/rootfs")), expected);
    skopeo("copy", "--all", `oci:${path("in")}:both`, `oci:${path("both")}:app`);
    using store = await imageStore();
    assertEquals(treeOf(path("both"), built, store), expected, "of two platforms");

    const written = path("written"), tar = `${written}.tar`;
    const options = { packing: "gzip", time: 0 } as const;
    await store.images.export(built.id, { ...options, format: "oci-dir", output: written });
    await store.images.export(built.id, { ...options, format: "hybrid", output: tar });
    for (const read of [`oci:${written}`, `oci-archive:${tar}`, `docker-archive:${tar}`]) {
      const to = path(read.split(":")[0]);
      skopeo("copy", read, `dir:${to}`);
      const { config } = JSON.parse(Deno.readTextFileSync(join(to, "manifest.json")));
      assertEquals(config.digest, built.id, read);
    }
  },
);

needs(
  lacksFileSystem("overlay") ?? lacksProgram("podman"),
  "an image that goes out is loaded by Podman, and comes back in as Podman saves it",
  async () => {
    using store = await imageStore();
    const path = (name: string) => store.path(name), built = image(LAYERS);
    const expected = treeOf(writeFiles(path("in"), oneImage(built)), built, store);
    const tar = path("out.tar");
    const options = { format: "hybrid", packing: "gzip", time: 0, output: tar } as const;
    await store.images.export(built.id, options);
    // Podman takes at most 50 characters.
    using run = tempDir("podman-", "/run");
    const place = ["--root", path("root"), "--runroot", run.path, "--storage-driver", "vfs"];
    const quiet = ["--cgroup-manager", "cgroupfs", "--events-backend", "none"];
    const policy = path("policy.json");
    Deno.writeTextFileSync(policy, '{"default": [{"type": "insecureAcceptAnything"}]}');
    const podman = (...words: string[]) => must("podman", ...place, ...quiet, ...words).trim();
    podman("load", "--quiet", "--signature-policy", policy, "--input", tar);
    const name = "docker.io/library/app:latest";
    assertEquals(`sha256:${podman("image", "inspect", "--format", "{{.Id}}", name)}`, built.id);
    assertEquals(linesOf(podman("image", "mount", name)), expected);
    podman("image", "unmount", name);
    for (const format of ["oci-archive", "docker-archive"]) {
      podman("save", "--quiet", "--format", format, "--output", path(format), name);
      using other = await imageStore();
      assertEquals(treeOf(path(format), built, other), expected, format);
    }
  },
);
