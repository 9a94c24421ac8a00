/**
 * Importing images: of every form, and of those that are not as they should be, which change nothing.
 */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { dir, file, symlink, tar } from "../tar/support/tar_builder.ts";
import { lacksFileSystem, needs, run, TEST_FS } from "../support/cases.ts";
import {
  addImage,
  type Built,
  type BuiltLayer,
  chainsOf,
  type Files,
  hex,
  image,
  json,
  layer,
  layout,
  OCI_LAYER,
  oneImage,
  sha256,
  tarOf,
  writeFiles,
} from "./builder.ts";
import { type ImageStore, imageStore, refused, snapshotNames, withTree } from "./support.ts";

const lacking = TEST_FS.startsWith("btrfs") ? undefined : lacksFileSystem("overlay");

const gzip = (plain: Uint8Array) => new Uint8Array(gzipSync(plain));
const zstd = (plain: Uint8Array) => new Uint8Array(zstdCompressSync(plain));

const BASE = layer([dir("etc/"), file("etc/motd", "hello\n"), file("etc/old", "x")], gzip);
const TOP = layer([dir("etc/"), file("etc/.wh.old", ""), file("new", "y")], zstd);

/** The entries and one file of the tree of {@linkcode BASE} and {@linkcode TOP}. */
function checkTree(store: ImageStore, { layers }: Built): void {
  withTree(store, chainsOf(layers).at(-1)!, (root) => {
    const names = (path: string) =>
      [...Deno.readDirSync(join(root, path))].map(({ name }) => name).sort();
    assertEquals([names("."), names("etc")], [["etc", "new"], ["motd"]]);
    assertEquals(Deno.readTextFileSync(join(root, "etc/motd")), "hello\n");
  });
}

/** A docker archive; `paths` are those of its layers. */
function dockerArchive({ config, id, layers }: Built, paths: readonly string[], tags = ["app:1"]) {
  const configPath = `${id.slice("sha256:".length)}.json`;
  const files: Files = {
    [configPath]: config,
    ...Object.fromEntries(paths.map((path, i) => [path, layers[i].file])),
    "manifest.json": json([{ Config: configPath, RepoTags: tags, Layers: paths }]),
  };
  return files;
}

needs(lacking, "images: a layout is imported from a directory, tars and a stream", async () => {
  using store = await imageStore();
  const { images } = store, built = image([BASE, TOP]);
  const files = oneImage(built), plain = tarOf(files);
  const directory = writeFiles(store.path("layout"), files);
  const [first] = images.import(directory);
  assertEquals(first, { id: built.id, names: ["app:latest"], layers: 2, unpacked: 2 });
  assertEquals(snapshotNames(store), chainsOf(built.layers).sort());
  checkTree(store, built);
  const again = { ...first, unpacked: 0 };
  for (const [name, bytes] of Object.entries({ plain, gzip: gzip(plain), zstd: zstd(plain) })) {
    Deno.writeFileSync(store.path(name), bytes);
    assertEquals(images.import(store.path(name)), [again], name);
    images.remove("app");
    assertEquals([images.list(), snapshotNames(store)], [[], []]);
    assertEquals(images.import(store.path(name)), [first], name);
  }
  const { labels } = images.snapshots.stat(chainsOf(built.layers)[1]);
  assertEquals(
    labels,
    new Map([
      ["containerd.io/snapshot.ref", chainsOf(built.layers)[1]],
      ["veneer/diff-id", sha256(TOP.plain)],
    ]),
  );
});

needs(lacking, "images: docker archives, old and new, links resolved", async () => {
  using store = await imageStore();
  const { images } = store;
  const built = image([BASE, TOP, layer([]), layer([])]);
  const [a, b, c] = ["1", "2", "3"].map((n) => n.repeat(64));
  const paths = [a, b, c].map((id) => `${id}/layer.tar`);
  const { "manifest.json": _, ...files } = dockerArchive(built, paths);
  const linked = `${"4".repeat(64)}/layer.tar`;
  const manifest = { Config: `${hex(built.config)}.json`, RepoTags: ["a/b:2", "app"] };
  const Layers = [...paths, linked];
  const old = tarOf(
    { ...files, "manifest.json": json([{ ...manifest, Layers }]) },
    symlink(`../${c}/layer.tar`, linked),
  );
  Deno.writeFileSync(store.path("old"), old);
  const imported = { id: built.id, names: ["a/b:2", "app:latest"], layers: 4 };
  assertEquals(images.import(store.path("old")), [{ ...imported, unpacked: 4 }]);
  checkTree(store, built);
  const blobs = built.layers.map(({ plain }) => `blobs/sha256/${hex(plain)}`);
  writeFiles(store.path("new"), dockerArchive(built, blobs.map((path) => `./${path}`)));
  assertEquals(images.import(store.path("new"), { name: "c" }), [{
    ...imported,
    names: ["a/b:2", "app:latest", "c:latest"],
    unpacked: 0,
  }]);
});

needs(lacking, "images: of an index, those for the wanted platform are taken", async () => {
  using store = await imageStore();
  const { images } = store, files: Files = {};
  const here = image([BASE]), other = image([TOP], { architecture: "riscv64", variant: "v1" });
  const platform = (architecture: string) => ({ platform: { os: "linux", architecture } });
  const own = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const index = json({
    schemaVersion: 2,
    manifests: [
      addImage(files, other, platform("riscv64")),
      addImage(files, here, platform(own)),
      addImage({}, image([BASE, TOP]), { platform: { os: "unknown", architecture: "unknown" } }),
    ],
  });
  const path = `blobs/sha256/${hex(index)}`;
  const listed = {
    mediaType: "application/vnd.oci.image.index.v1+json",
    digest: sha256(index),
    size: index.length,
    annotations: { "org.opencontainers.image.ref.name": "3" },
  };
  const source = writeFiles(store.path("multi.oci"), layout({ ...files, [path]: index }, [listed]));
  const ids = (imported: { id: string }[]) => imported.map(({ id }) => id);
  assertEquals(images.import(source), [{
    id: here.id,
    names: ["multi:3"],
    layers: 1,
    unpacked: 1,
  }]);
  const wanted = { os: "linux", architecture: "riscv64", variant: "" };
  assertEquals(ids(images.import(source, { platform: wanted })), [other.id]);
  assertEquals(ids(images.import(source, { all: true })), [other.id, here.id]);
  assertEquals(
    refused(() => images.import(source, { platform: { ...wanted, architecture: "s390x" } })),
    `${source} has no image for linux/s390x, only for linux/riscv64, linux/${own}`,
  );
});

needs(lacking, "images: names are moved, and layers go with the last image on them", async () => {
  using store = await imageStore();
  const { images } = store, [lower, upper] = [image([BASE]), image([BASE, TOP])];
  images.import(writeFiles(store.path("lower"), oneImage(lower)));
  images.import(writeFiles(store.path("upper"), oneImage(upper)));
  assertEquals(images.find("app").id, upper.id);
  assertEquals(images.find(lower.id.slice(0, 20)).names, []);
  images.tag("app", "mirror.example:5000/x/app:1");
  assertMatch(refused(() => images.remove(upper.id), "failed precondition"), /several names/);
  const [base, top] = chainsOf(upper.layers);
  assertMatch(
    refused(() => images.snapshots.remove(top), "failed precondition"),
    /uppermost layer of an image: "docker.io\/library\/app:latest"/,
  );
  images.snapshots.prepare("work", top);
  assertEquals(images.remove(upper.id, true).layers, []);
  images.snapshots.remove("work");
  assertEquals(images.remove(lower.id).layers, [top, base]);
  assertEquals(snapshotNames(store), []);
  assertMatch(refused(() => images.find("app"), "not found"), /^image "app" does not exist$/);
});

/** What is wrong with an image, and the message. */
type Fault = readonly [name: string, files: (built: Built) => Files, message: RegExp];

const blobOf = ({ file }: BuiltLayer) => `blobs/sha256/${hex(file)}`;
const damaged = (bytes: Uint8Array) => new Uint8Array(bytes).fill(7, bytes.length - 12);
const archive = (more: Record<string, unknown>) => (built: Built): Files => {
  const files = dockerArchive(built, ["a.tar", "b.tar"]);
  const [manifest] = JSON.parse(new TextDecoder().decode(files["manifest.json"]));
  return { ...files, "manifest.json": json([{ ...manifest, ...more }]) };
};

const FAULTS: readonly Fault[] = [
  ["a layer of other bytes", (built) => {
    const files = oneImage(built);
    return { ...files, [blobOf(TOP)]: damaged(TOP.file) };
  }, /layer sha256:[0-9a-f]{64} has the content of sha256:[0-9a-f]{64}: it is damaged$/],
  [
    "a layer of another size",
    (built) => ({ ...oneImage(built), [blobOf(TOP)]: TOP.file.slice(1) }),
    /layer sha256:\S+ has \d+ bytes, its descriptor says \d+$/,
  ],
  ["a missing layer", (built) => {
    const { [blobOf(BASE)]: _, ...files } = oneImage(built);
    return files;
  }, /layer sha256:\S+ is missing: \S+ has no such blob$/],
  [
    "a wrong diff id",
    ({ layers }) => oneImage({ ...image([BASE, layer([])]), layers }),
    /layer sha256:\S+ has the content of sha256:\S+, its config says diff id sha256:\S+$/,
  ],
  [
    "fewer diff ids than layers",
    ({ layers }) => oneImage({ ...image([BASE]), layers }),
    /manifest sha256:\S+ has 2 layers, its config has 1 diff ids$/,
  ],
  ["10,000 layers", ({ config, id }) => {
    const layers = Array.from({ length: 10_000 }, () => BASE);
    return oneImage({ config, id, layers });
  }, /manifest sha256:\S+ has 10000 layers: at most 512 are read$/],
  [
    "a config that is not JSON",
    ({ layers, id }) => oneImage({ layers, id, config: new Uint8Array([123]) }),
    /config sha256:\S+ is not JSON$/,
  ],
  [
    "a config of other bytes",
    (built) => ({
      ...oneImage(built),
      [`blobs/sha256/${hex(built.config)}`]: damaged(built.config),
    }),
    /config sha256:\S+ has the content of sha256:\S+: it is damaged$/,
  ],
  [
    "a config of 100 MiB",
    ({ layers, id }) => oneImage({ layers, id, config: new Uint8Array(100 << 20) }),
    /config sha256:\S+ has 104857600 bytes: at most 8388608 \(8 MiB\) are read$/,
  ],
  [
    "a layer that is not a tar",
    () =>
      oneImage(image([BASE, { plain: gzip(BASE.plain), file: BASE.file, mediaType: OCI_LAYER }])),
    /layer sha256:\S+ has the content of/,
  ],
  [
    "a path above the archive",
    archive({ Layers: ["a.tar", "../b.tar"] }),
    /path "..\/b.tar" leads out of the image$/,
  ],
  [
    "an absolute path",
    archive({ Config: "/etc/passwd" }),
    /path "\/etc\/passwd" is absolute: it leads out of the image$/,
  ],
  [
    "a layer that the archive lacks",
    archive({ Layers: ["a.tar", "c.tar"] }),
    /layer c.tar is missing: manifest.json lists it$/,
  ],
  ["a name that is none", archive({ RepoTags: ["No Name"] }), /image name "No Name": write it as/],
  ["no image", () => ({ "manifest.json": json([]) }), /holds no image$/],
  [
    "neither layout nor archive",
    () => ({ "index.json": json({}) }),
    /is not an image: it has neither oci-layout and index.json nor manifest.json$/,
  ],
];

needs(lacking, "images: what is not as it should be is one line, and changes nothing", async () => {
  using store = await imageStore();
  const { images } = store;
  const check = (name: string, files: Files, message: RegExp) => {
    const kept = snapshotNames(store);
    const source = writeFiles(store.path(name.replaceAll(" ", "-")), files);
    assertMatch(refused(() => images.import(source)), message, name);
    assertEquals(snapshotNames(store), kept, name);
  };
  const built = image([BASE, TOP]), [[, firstFiles, firstMessage]] = FAULTS;
  check("on nothing", firstFiles(built), firstMessage);
  images.import(writeFiles(store.path("good"), oneImage(image([BASE]))));
  for (const [name, files, message] of FAULTS) check(name, files(built), message);
  assertEquals(images.list().map(({ id }) => id), [image([BASE]).id]);
});

needs(lacking, "images: a tar that is cut short, or none, is refused", async () => {
  using store = await imageStore();
  const { images } = store, plain = tarOf(oneImage(image([BASE])));
  const said = (bytes: Uint8Array) => {
    Deno.writeFileSync(store.path("a.tar"), bytes);
    return refused(() => images.import(store.path("a.tar")));
  };
  assertMatch(said(plain.subarray(0, 700)), /a\.tar: .*cut short|a\.tar ends inside/);
  assertMatch(said(gzip(plain).subarray(0, 300)), /damaged or cut short/);
  assertMatch(said(new TextEncoder().encode("no tar")), /a\.tar/);
  assertEquals(snapshotNames(store), []);
});

needs(
  lacking,
  "images: a killed import leaves nothing that the next one does not remove",
  async () => {
    using store = await imageStore();
    const { images } = store, built = image([BASE, TOP]);
    images.import(writeFiles(store.path("good"), oneImage(built)));
    const [base, top] = chainsOf(built.layers);
    // As a process leaves it that is killed between a layer and the image's record, or in a layer.
    images.snapshots.database.prepare("DELETE FROM images").run();
    images.snapshots.prepare(`image-layer ${top}`, base);
    images.snapshots.remove(top);
    assertEquals(images.import(store.path("good")).map(({ unpacked }) => unpacked), [1]);
    assertEquals(snapshotNames(store), [base, top].sort());
    images.snapshots.database.prepare("DELETE FROM images").run();
    images.import(writeFiles(store.path("other"), oneImage(image([layer([file("z", "z")])]))));
    assertEquals(snapshotNames(store).length, 1);
  },
);

needs(lacking, "images: no file of a directory is reached through a link out of it", async () => {
  using store = await imageStore();
  const built = image([BASE]), files = oneImage(built);
  const { [blobOf(BASE)]: blob, ...others } = files;
  const source = writeFiles(store.path("layout"), others);
  Deno.writeFileSync(store.path("outside"), blob);
  Deno.symlinkSync(store.path("outside"), join(source, blobOf(BASE)));
  assertMatch(refused(() => store.images.import(source)), /is missing/);
  Deno.removeSync(join(source, blobOf(BASE)));
  assertEquals(run("mkfifo", join(source, blobOf(BASE))).code, 0);
  assertMatch(refused(() => store.images.import(source)), /is not a file$/);
});

/** Types of layers that others write; the content tells how a layer is compressed. */
const LAYER_TYPES = [
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  "application/vnd.docker.image.rootfs.diff.tar",
];

needs(lacking, "images: layers of every type are read as what they contain", async () => {
  for (const mediaType of LAYER_TYPES) {
    using store = await imageStore();
    const built = image([
      { ...BASE, mediaType },
      { ...TOP, mediaType },
      layer([], gzip, mediaType),
    ]);
    const [{ id }] = store.images.import(writeFiles(store.path("in"), oneImage(built)));
    assertEquals(id, built.id, mediaType);
    checkTree(store, built);
  }
});

/** A tar of one file of zeros, which expands ten thousandfold. */
function bomb(): Uint8Array<ArrayBuffer> {
  const size = 128 << 20, header = tar(file("zeros", "", { size })).subarray(0, 512);
  const half = zstd(new Uint8Array(size / 2));
  return new Uint8Array([...zstd(header), ...half, ...half]);
}

needs(
  lacking,
  "images: what expands more than a thousandfold is refused while it is small",
  async () => {
    using store = await imageStore();
    const { images } = store, packed = bomb(), { plain } = BASE;
    const built = image([{ plain, file: packed, mediaType: `${OCI_LAYER}+zstd` }]);
    writeFiles(store.path("in"), oneImage(built));
    Deno.writeFileSync(store.path("in.tar"), packed);
    let most = 0;
    const layer = () => ({
      update: (bytes: number) => void (most = Math.max(most, bytes)),
      [Symbol.dispose]: () => {},
    });
    assertMatch(
      refused(() => images.import(store.path("in"), { report: { layer } })),
      /layer sha256:\w+ cannot be decompressed: it expands more than a thousandfold$/,
    );
    assert(most < 64 << 20, `${most} bytes were unpacked`);
    assertMatch(
      refused(() => images.import(store.path("in.tar"))),
      /in\.tar: .*it expands more than a thousandfold$/,
    );
    assertMatch(
      refused(() => images.import(store.path("in"), { allowExpansion: true })),
      /has the content of sha256:\w+, its config says/,
    );
    assertEquals(snapshotNames(store), []);
  },
);
